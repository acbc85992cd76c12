"""The reader test: a fair draw, answers in order, a score with its interval, a result that can be kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medai_core.errors import InputError
from medai_core.metrics import wilson
from medai_core.synthesis.reader_test import (
    REAL,
    RECORD,
    SYNTHETIC,
    Question,
    draw,
    draw_labels,
    label_in,
    records,
    score,
    summary,
)

PIXELS = np.zeros((4, 4), np.uint8)


def questions(kind: str, count: int) -> list[Question]:
    labels = ("normal", "viral")
    return [Question(f"{kind}{n}", kind, labels[n % 2], PIXELS) for n in range(count)]


def answered(count: int, right: int, seed: int = 3):
    test = draw(questions(REAL, count), questions(SYNTHETIC, count), count, seed)
    for place in range(count):
        truth = test.question.truth
        wrong = SYNTHETIC if truth == REAL else REAL
        test = test.answer(truth if place < right else wrong, seconds=place)
    return test


@pytest.mark.parametrize("count", [4, 7, 30])
def test_half_are_real_and_the_seed_decides_which_and_in_which_order(count: int) -> None:
    pools = questions(REAL, 40), questions(SYNTHETIC, 40)
    names = [question.name for question in draw(*pools, count, seed=5).questions]
    assert len(names) == len(set(names)) == count
    assert abs(sum(name.startswith(REAL) for name in names) - count / 2) <= 0.5
    assert names == [question.name for question in draw(*pools, count, seed=5).questions]
    assert names != [question.name for question in draw(*pools, count, seed=6).questions]


def test_the_order_tells_nothing_of_the_truth() -> None:
    first = [draw(questions(REAL, 5), questions(SYNTHETIC, 5), 10, seed).question.truth for seed in range(200)]
    assert 70 <= first.count(REAL) <= 130


@pytest.mark.parametrize(("count", "real"), [(3, 9), (0, 9), (201, 300), (10, 4)])
def test_a_test_that_cannot_be_drawn_says_why(count: int, real: int) -> None:
    with pytest.raises(InputError, match=str(count)):
        draw(questions(REAL, real), questions(SYNTHETIC, 300), count, 0)


def test_the_score_is_the_share_with_its_interval() -> None:
    found = score(answered(20, 15))
    assert (found.answered, found.right, found.chance) == (20, 15, 0.5)
    assert found.share == wilson(15, 20)
    assert sum(row.shown for row in found.rows) == 20 and sum(row.right for row in found.rows) == 15
    assert [row.truth for row in found.rows] == sorted(row.truth for row in found.rows)
    assert found.median_seconds == 9.5


@pytest.mark.parametrize(("right", "verdict"), [(20, "above"), (10, "chance"), (1, "below")])
def test_the_verdict_is_about_guessing(right: int, verdict: str) -> None:
    assert score(answered(20, right)).verdict == verdict


def test_answers_can_be_taken_back_and_only_choices_are_answers() -> None:
    test = draw(questions(REAL, 4), questions(SYNTHETIC, 4), 4, 0)
    assert test.answer(REAL).undo().question is test.question
    assert test.undo().place == 0
    with pytest.raises(InputError, match="'maybe'"):
        test.answer("maybe")
    with pytest.raises(InputError, match="Nothing is answered"):
        score(test)
    done = answered(4, 4)
    assert done.done
    with pytest.raises(InputError, match="All 4"):
        done.answer(REAL)


def test_a_stopped_test_is_scored_on_what_was_answered() -> None:
    test = draw(questions(REAL, 9), questions(SYNTHETIC, 9), 12, 1).answer(REAL).answer(REAL)
    assert score(test).answered == 2 and not test.done
    assert len(records(test)) == 2


def test_the_result_holds_every_answer() -> None:
    test = answered(6, 4)
    stored = json.loads(json.dumps(summary(test, {"model": "m"})))
    assert stored["model"] == "m" and stored["right"] == 4 and len(stored["answers"]) == 6
    assert set(stored["answers"][0]) == set(RECORD)
    assert [row["right"] for row in stored["answers"]] == [True] * 4 + [False] * 2
    assert stored["share_right"]["low"] < 4 / 6 < stored["share_right"]["high"]


def test_practice_asks_for_the_label() -> None:
    labels = ("normal", "bacterial", "viral")
    made = [Question(f"{n}", SYNTHETIC, labels[n % 3], PIXELS) for n in range(9)]
    test = draw_labels(made, labels, 2)
    assert test.choices == labels and all(question.truth == question.label for question in test.questions)
    for question in test.questions:
        test = test.answer(question.label)
    assert score(test).chance == pytest.approx(1 / 3) and score(test).right == 9
    with pytest.raises(InputError):
        draw_labels(made, ("normal",), 2)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("val/PNEUMONIA/person1_bacteria_4.jpeg", "bacterial"),
        ("person1_virus_4.jpeg", "viral"),
        ("NORMAL/IM-0001.jpeg", "normal"),
        ("Normal\\a.png", "normal"),
        ("abnormal/a.png", None),
        ("a.png", None),
        ("normal/not_viral_but_bacterial.png", None),
    ],
)
def test_labels_of_files(path: str, label: str | None) -> None:
    assert label_in(path, ("normal", "bacterial", "viral")) == label


def test_no_tumour_is_a_label() -> None:
    labels = ("glioma", "meningioma", "notumor", "pituitary")
    for path in ("no_tumor/1.jpg", "No Tumor/1.jpg", "notumor/1.jpg", "no tumour/x.png"):
        assert label_in(path, labels) == "notumor"
    assert label_in("pituitary/tumor_3.jpg", labels) == "pituitary"
