"""A reader test: which images does a person take for synthetic, and is that better than guessing?

The simplest design with a meaningful chance level: one image at a time, equally many of each kind in an order drawn
from a seed, every image seen once ("visual Turing test", Chuquicusma et al. 2018). Nothing here shows anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.metrics import Interval, wilson

REAL, SYNTHETIC = "real", "synthetic"
KINDS = (REAL, SYNTHETIC)
MIN_QUESTIONS, MAX_QUESTIONS = 4, 200
# How folders and files of the public collections write a label.
SPELLINGS = {"bacteria": "bacterial", "virus": "viral", "no_tumor": "notumor", "no_tumour": "notumor"}
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Question:
    """One image to be judged.

    Attributes
    ----------
    name : str
        What the result calls it: a file's name, or label, seed and number of a generated image.
    truth : str
        The right answer, one of the test's choices.
    label : str or None
        What the image shows, where that is known.
    pixels : NDArray[np.uint8]
        (H, W), prepared in the same way whatever the truth, and without the visible mark.
    """

    name: str
    truth: str
    label: str | None
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What was answered, and after how many seconds."""

    given: str
    seconds: float


@dataclass(frozen=True, eq=False)
class ReaderTest:
    """A test under way; :meth:`answer` and :meth:`undo` return the next state, so an old one is never half changed.

    Attributes
    ----------
    questions : tuple[Question, ...]
        In the order they are asked.
    choices : tuple[str, ...]
        What can be answered.
    seed : int
        What the order was drawn from.
    answers : tuple[Answer, ...]
        To the first questions.
    """

    questions: tuple[Question, ...]
    choices: tuple[str, ...]
    seed: int
    answers: tuple[Answer, ...] = ()

    @property
    def place(self) -> int:
        """Number of the question to be asked, from 0."""
        return len(self.answers)

    @property
    def done(self) -> bool:
        return self.place == len(self.questions)

    @property
    def question(self) -> Question:
        """The question to be asked.

        Raises
        ------
        InputError
            If all are answered.
        """
        if self.done:
            raise InputError("All {n} questions of this test are answered.", n=len(self.questions))
        return self.questions[self.place]

    def answer(self, given: str, seconds: float = 0.0) -> ReaderTest:
        """Return the test with the current question answered.

        Raises
        ------
        InputError
            If ``given`` is none of the choices, or if all questions are answered.
        """
        if given not in self.choices:
            raise InputError(
                "`answer` must be one of {choices}, got {given}", choices=", ".join(self.choices), given=repr(given)
            )
        self.question  # noqa: B018  raises where none is left
        return replace(self, answers=(*self.answers, Answer(given, float(seconds))))

    def undo(self) -> ReaderTest:
        """Return the test with the last answer taken back."""
        return replace(self, answers=self.answers[:-1])


@dataclass(frozen=True)
class Row:
    """Right answers among the answered images of one kind and label."""

    truth: str
    label: str | None
    shown: int
    right: int

    @property
    def share(self) -> Interval:
        return wilson(self.right, self.shown)


@dataclass(frozen=True)
class Score:
    """How a reader did.

    Attributes
    ----------
    answered, right : int
        Counts.
    share : Interval
        Right among answered, with its 95 % interval (Wilson).
    chance : float
        What guessing gives.
    rows : tuple[Row, ...]
        By truth, then label, in the order of the choices and of the labels' names.
    median_seconds : float
        Of an answer.
    """

    answered: int
    right: int
    share: Interval
    chance: float
    rows: tuple[Row, ...]
    median_seconds: float

    @property
    def verdict(self) -> str:
        """``above``, ``below`` or ``chance``: where the interval lies to what guessing gives."""
        if self.share.low > self.chance:
            return "above"
        return "below" if self.share.high < self.chance else "chance"


def draw(real: Sequence[Question], synthetic: Sequence[Question], count: int, seed: int) -> ReaderTest:
    """Mix real and synthetic images, half and half, in an order drawn from a seed.

    Parameters
    ----------
    real, synthetic : Sequence[Question]
        At least half of ``count`` of each; which of them are asked is drawn too.
    count : int
        Images to be judged, from 4 to 200; of an odd number the draw decides which kind has one more.
    seed : int
        Same seed and same images, same test.

    Raises
    ------
    InputError
        If ``count`` is outside its limits, or there are too few images of a kind.
    """
    if not MIN_QUESTIONS <= count <= MAX_QUESTIONS:
        raise InputError(
            "`count` must be between {low} and {high}, got {count}", low=MIN_QUESTIONS, high=MAX_QUESTIONS, count=count
        )
    rng = np.random.default_rng(seed)
    more = int(rng.integers(2)) if count % 2 else 0
    wanted = {REAL: count // 2 + more, SYNTHETIC: count - count // 2 - more}
    chosen: list[Question] = []
    for kind, found in ((REAL, real), (SYNTHETIC, synthetic)):
        if len(found) < wanted[kind]:
            raise InputError(
                "A test of {count} images needs {wanted} {kind} ones, got {found}",
                count=count, wanted=wanted[kind], kind=kind, found=len(found),
            )  # fmt: skip
        chosen += shuffled(found, rng)[: wanted[kind]]
    return ReaderTest(tuple(shuffled(chosen, rng)), KINDS, seed)


def draw_labels(made: Sequence[Question], labels: Sequence[str], seed: int) -> ReaderTest:
    """Return a practice test on generated images alone: which label was each made for?

    Raises
    ------
    InputError
        Without an image, or if one was made for none of ``labels``.
    """
    if not made or not {question.label for question in made} <= set(labels):
        raise InputError("A test of labels needs images made for one of {labels}", labels=", ".join(labels))
    asked = [replace(question, truth=str(question.label)) for question in made]
    return ReaderTest(tuple(shuffled(asked, np.random.default_rng(seed))), tuple(labels), seed)


def shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    """Return items in an order drawn from ``rng``."""
    return [items[place] for place in rng.permutation(len(items))]


def score(test: ReaderTest) -> Score:
    """Score the answers given so far.

    Raises
    ------
    InputError
        Before the first answer.
    """
    if not test.answers:
        raise InputError("Nothing is answered yet, so there is nothing to score.")
    counts: dict[tuple[str, str | None], list[int]] = {}
    for question, answer in zip(test.questions, test.answers, strict=False):
        tally = counts.setdefault((question.truth, question.label), [0, 0])
        tally[0] += 1
        tally[1] += answer.given == question.truth
    keys = sorted(counts, key=lambda key: (test.choices.index(key[0]), key[1] is None, key[1] or ""))
    rows = tuple(Row(*key, *counts[key]) for key in keys)
    right = sum(row.right for row in rows)
    seconds = median(answer.seconds for answer in test.answers)
    return Score(test.place, right, wilson(right, test.place), 1 / len(test.choices), rows, seconds)


RECORD = ("number", "name", "truth", "label", "answer", "right", "seconds")


def records(test: ReaderTest) -> list[tuple[object, ...]]:
    """Return a row for each answer, with the fields of :data:`RECORD`."""
    return [
        (
            place + 1, question.name, question.truth, question.label or "", answer.given,
            answer.given == question.truth, round(answer.seconds, 2),
        )
        for place, (question, answer) in enumerate(zip(test.questions, test.answers, strict=False))
    ]  # fmt: skip


def summary(test: ReaderTest, about: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return the score and every answer, ready for JSON; ``about`` (model, version, …) comes first.

    Raises
    ------
    InputError
        Before the first answer.
    """
    found = score(test)
    return {
        **(about or {}),
        "choices": list(test.choices),
        "seed": test.seed,
        "questions": len(test.questions),
        "answered": found.answered,
        "right": found.right,
        "share_right": found.share.to_dict(),
        "chance": found.chance,
        "against_chance": found.verdict,
        "median_seconds": round(found.median_seconds, 2),
        "by_label": [
            {"truth": row.truth, "label": row.label, "shown": row.shown, "right": row.right, **row.share.to_dict()}
            for row in found.rows
        ],
        "answers": [dict(zip(RECORD, record, strict=True)) for record in records(test)],
    }


def label_in(path: str, labels: Sequence[str]) -> str | None:
    """Return the label that a path states, nearest to its end; None where it states none or several at once.

    Examples
    --------
    >>> label_in("train/PNEUMONIA/person7_bacteria_24.jpeg", ("normal", "bacterial", "viral"))
    'bacterial'
    """
    for part in reversed(re.split(r"[\\/]", path.lower())):
        joined = re.sub(r"no[\s_-]*tumou?r", "notumor", part)
        words = {SPELLINGS.get(word, word) for word in re.split(r"[^a-z]+", joined)}
        if found := words & set(labels):
            return found.pop() if len(found) == 1 else None
    return None
