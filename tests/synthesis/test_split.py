"""The generator's training and held-out patients."""

from __future__ import annotations

import numpy as np
import pytest

from medai_core.errors import InputError
from medai_core.synthesis.split import split


def drawn(n: int = 900, patients: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    patient = rng.integers(0, patients, n)
    return np.array([f"person{k}" for k in patient]), patient % 3


def test_no_patient_is_on_both_sides_and_a_tenth_of_each_label_is_held_out() -> None:
    groups, labels = drawn()
    train, held = split(groups, labels)
    assert (train != held).all()
    assert not set(groups[train]) & set(groups[held])
    for label in range(3):
        mine = np.unique(groups[labels == label])
        assert len(set(mine) & set(groups[held])) == round(0.1 * len(mine))


def test_the_order_of_the_images_does_not_matter_but_the_seed_does() -> None:
    groups, labels = drawn()
    order = np.random.default_rng(1).permutation(len(groups))
    held = split(groups, labels)[1]
    assert (split(groups[order], labels[order])[1] == held[order]).all()
    assert (split(groups, labels, seed=1)[1] != held).any()


def test_a_patient_with_two_labels_stays_whole() -> None:
    groups = np.repeat([f"p{k}" for k in range(40)], 3)
    labels = np.tile([0, 1, 1], 40)
    train, held = split(groups, labels)
    assert not set(groups[train]) & set(groups[held]) and held.sum() == 12


@pytest.mark.parametrize(
    ("groups", "labels", "share", "problem"),
    [
        (["a", "b"], [0], 0.1, "one length"),
        ([], [], 0.1, "one length"),
        (["a", "b"], [0, 0], 1.0, "`share`"),
        (["a", "a", "b", "c"], [0, 0, 1, 1], 0.1, "Label 0 has one group"),
    ],
)
def test_what_cannot_be_split_is_named(groups, labels, share, problem) -> None:
    with pytest.raises(InputError, match=problem):
        split(groups, labels, share=share)
