from __future__ import annotations

import numpy as np
import pytest

from medai_core.faithfulness import against_random

WORTH = np.array([3.0, -1.0, 0.5, 0.0, 2.0, -2.5, 0.1, 0.2])


def game(present):
    return present @ WORTH


def test_the_best_order_is_found_faithful_and_its_opposite_is_not():
    right, wrong = (against_random(game, values, True) for values in (WORTH, -WORTH))
    assert right.faithful and not wrong.faithful
    assert right.deletion_auc < right.random_deletion_auc and right.insertion_auc > right.random_insertion_auc
    assert wrong.insertion_auc < wrong.random_insertion_auc
    assert right.random_deletion.shape == (20, 9) == right.random_insertion.shape


def test_the_curves_are_those_of_the_definition():
    found = against_random(game, WORTH, True)
    order = np.argsort(-WORTH, kind="stable")
    np.testing.assert_allclose(found.insertion, np.r_[0, np.cumsum(WORTH[order])])
    np.testing.assert_allclose(found.deletion, WORTH.sum() - found.insertion)
    np.testing.assert_allclose(found.share, np.arange(9) / 8)


def test_an_answer_below_the_base_is_turned():
    low = against_random(lambda present: -game(present), -WORTH, False)
    np.testing.assert_allclose(low.insertion, against_random(game, WORTH, True).insertion)
    assert low.faithful


def test_bundles_hold_all_parts_and_ask_for_less():
    asked = []
    found = against_random(lambda present: asked.append(len(present)) or game(present), WORTH, True, steps=3, orders=5)
    assert len(found.share) == 4 and found.share[-1] == 1 and asked == [2 * 6 * 4]
    assert found.insertion[-1] == pytest.approx(WORTH.sum()) == found.deletion[0]


def test_nothing_to_explain_is_not_faithful():
    found = against_random(lambda present: np.zeros(len(present)), np.zeros(0), True)
    assert not found.faithful and found.deletion.shape == (1,)
    assert not against_random(lambda present: np.zeros(len(present)), WORTH, True).faithful
