"""Putting a reader test together: the visitor's own images and generated ones, prepared in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medai_core.errors import InputError, MedAIError
from medai_core.synthesis.reader_test import (
    REAL,
    SYNTHETIC,
    Question,
    ReaderTest,
    draw,
    draw_labels,
    label_in,
    shuffled,
)
from pages.ui.queue import Upload

if TYPE_CHECKING:
    from medai_core.synthesis.generator import Generator

SPARE = 8
"""How many images more are opened than are asked, because some may not be readable."""
Tick = Callable[[int, int], None]
Place = tuple[int, int]
"""Which upload, and which member of it."""


@dataclass(frozen=True)
class Wish:
    """What the visitor asked for: how many images, from which seed, and whether each answer is told at once."""

    model: str
    count: int
    seed: int
    told: bool = False


@dataclass(frozen=True, eq=False)
class Opened:
    """The visitor's images ready to be asked, and how many files were left out for which reason."""

    questions: tuple[Question, ...]
    unreadable: int
    synthetic: int


def open_own(uploads: Sequence[Upload], wanted: int, labels: Sequence[str], seed: int, tick: Tick) -> Opened:
    """Open as many of the visitor's images as are asked, drawn from a seed.

    Images that carry a mark of synthetic ones are left out: they would spoil the test.

    Raises
    ------
    InputError
        If fewer than ``wanted`` can be used.
    """
    named = members(uploads)
    order = shuffled(list(named), np.random.default_rng(seed))
    first = _open_some(uploads, order[: wanted + SPARE], named, labels, tick)
    usable = [place for place in order if isinstance(first.get(place), Question)]
    if len(usable) < wanted and len(order) > wanted + SPARE:
        first |= _open_some(uploads, order[wanted + SPARE :], named, labels, tick)
        usable = [place for place in order if isinstance(first.get(place), Question)]
    left_out = Counter(found for found in first.values() if isinstance(found, str))
    if len(usable) < wanted:
        raise InputError(
            "The test needs {wanted} of your images; {usable} of the {n} files can be used. Add images, or choose "
            "fewer to judge.",
            wanted=wanted, usable=len(usable), n=len(order),
        )  # fmt: skip
    return Opened(tuple(first[place] for place in usable[:wanted]), left_out["unreadable"], left_out["synthetic"])


def members(uploads: Sequence[Upload]) -> dict[Place, str]:
    """Return the name of every file, those in archives too."""
    from medai_core.imaging.read import unpack

    return {
        (which, place): member.name
        for which, upload in enumerate(uploads)
        for place, member in enumerate(unpack(upload.data, upload.name))
        if member.error is None
    }


def _open_some(
    uploads: Sequence[Upload], wanted: Sequence[Place], named: Mapping[Place, str], labels: Sequence[str], tick: Tick
) -> dict[Place, Question | str]:
    """Return a question, or why there is none, for each place; archives are gone through once."""
    from medai_core.imaging.read import unpack

    left, found = set(wanted), {}
    for which, upload in enumerate(uploads):
        if not any(place[0] == which for place in left):
            continue
        for at, member in enumerate(unpack(upload.data, upload.name)):
            if (which, at) in left:
                found[which, at] = _question(named[which, at], member.data, labels)
                tick(len(found), len(wanted))
    return found


def _question(name: str, data: bytes, labels: Sequence[str]) -> Question | str:
    from medai_core.imaging.gate import marks_of
    from medai_core.imaging.prepare import VIA, prepare
    from medai_core.imaging.read import read_scan

    try:
        scan = read_scan(data, at_least=VIA)
        image = prepare(scan.display).image
    except MedAIError:
        return "unreadable"
    if marks_of(scan).any:
        return "synthetic"
    pixels = np.rint(image[..., 0] * 255).astype(np.uint8)
    return Question(name, REAL, label_in(name, labels), pixels)


def generated(generator: Generator, counts: Mapping[str, int], seed: int, tick: Tick) -> list[Question]:
    """Return freshly made images, so many of each label, with the invisible watermark."""
    from medai_core.synthesis import export

    made: list[Question] = []
    for place, (label, count) in enumerate(counts.items()):
        if count:
            # One seed makes the same body under every label, which would show that both are synthetic.
            own = (seed + place) % 2**32
            for image in generator.generate(label, count, own).images:
                pixels = export.marked(image, clean=True)
                made.append(Question(f"{label}_seed{own}_{image.index:04d}", SYNTHETIC, label, pixels))
            tick(len(made), sum(counts.values()))
    return made


def like_own(own: Sequence[Question], labels: Sequence[str], count: int) -> dict[str, int]:
    """Return how many images of each label to make: as many as among the own ones, or evenly if those do not say.

    A label that only one kind has would give the answer away.
    """
    known = Counter(question.label for question in own)
    if None in known or not known:
        return {label: count // len(labels) + (place < count % len(labels)) for place, label in enumerate(labels)}
    shares = {label: count * known[label] / len(own) for label in labels}
    counts = {label: int(share) for label, share in shares.items()}
    for label in sorted(labels, key=lambda label: counts[label] - shares[label])[: count - sum(counts.values())]:
        counts[label] += 1
    return counts


def own_test(uploads: Sequence[Upload], wish: Wish, generator: Generator, tick: Tick) -> tuple[ReaderTest, Opened]:
    """Return the test of real against synthetic images, and what was left out of it."""
    half = -(-wish.count // 2)
    own = open_own(uploads, half, generator.labels, wish.seed, tick)
    made = generated(generator, like_own(own.questions, generator.labels, half), wish.seed, tick)
    return draw(own.questions, made, wish.count, wish.seed), own


def practice_test(wish: Wish, generator: Generator, tick: Tick) -> ReaderTest:
    """Return the test of labels on generated images alone."""
    counts = like_own((), generator.labels, wish.count)
    return draw_labels(generated(generator, counts, wish.seed, tick), generator.labels, wish.seed)
