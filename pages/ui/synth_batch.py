"""The images a visitor asked for: the order, the work on it that can be stopped, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import loaders, synth_loaders
from pages.ui.frame import problem
from pages.ui.language import _

if TYPE_CHECKING:
    from medai_core.synthesis.generator import Generated, SyntheticImage

FIRST_EACH, FIRST_SEED, FIRST_TRUNCATION = 4, 1, 1.0
LAST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Wish:
    """What was asked for: ``each`` images of every label."""

    model: str
    labels: tuple[str, ...]
    each: int = FIRST_EACH
    seed: int = FIRST_SEED
    truncation: float = FIRST_TRUNCATION

    @property
    def total(self) -> int:
        return self.each * len(self.labels)


@dataclass(frozen=True, eq=False)
class Batch:
    """What was made: the images, how many were withheld as near-copies, and whether it is all that was asked for."""

    wish: Wish
    version: str
    images: tuple[SyntheticImage, ...]
    withheld: int
    seconds: float

    @property
    def stopped(self) -> bool:
        return len(self.images) < self.wish.total

    @property
    def key(self) -> str:
        """What widgets about these images are called by."""
        wish = self.wish
        return f"{wish.model}_{'-'.join(wish.labels)}_{len(self.images)}_{wish.seed}_{wish.truncation}"


@dataclass(eq=False)
class Order:
    """A wish being worked on, label by label; what is finished stays when the work is stopped."""

    wish: Wish
    done: list[Generated] = field(default_factory=list)
    seconds: float = 0.0

    def batch(self) -> Batch:
        images = tuple(image for made in self.done for image in made.images)
        withheld = sum(made.withheld for made in self.done)
        return Batch(self.wish, loaders.version(self.wish.model), images, withheld, self.seconds)


def held(model: str) -> Batch | None:
    """Return the images of the session made by one generator, if it is still the same."""
    found = st.session_state.get(f"synth_batch_{model}")
    return found if found is not None and found.version == loaders.version(model) else None


def order(wish: Wish) -> None:
    """Ask for images; the next run of the page makes them."""
    st.session_state[f"synth_order_{wish.model}"] = Order(wish)


def ordered(model: str) -> Order | None:
    """Return the order that waits or is being worked on."""
    return st.session_state.get(f"synth_order_{model}")


def finish(found: Order) -> None:
    """Keep what is made of an order, and the images before where nothing is."""
    model = found.wish.model
    st.session_state.pop(f"synth_order_{model}", None)
    if found.done:
        st.session_state[f"synth_batch_{model}"] = found.batch()


def work(found: Order) -> None:
    """Make what is ordered, with its progress and a way to stop; ends in a rerun, or with what went wrong.

    A click on *Stop* starts the page anew, which ends this run at the next step of the progress bar.
    """
    wish = found.wish
    with st.container(horizontal=True, vertical_alignment="center", key="synth_running"):
        bar = st.progress(0.0, _("{n} of {all} images").format(n=0, all=wish.total))
        st.button(_("Stop"), icon=":material/stop:", on_click=finish, args=(found,), key="synth_stop")
    try:
        generator = synth_loaders.generator(wish.model)
        for label in wish.labels[len(found.done) :]:
            start = time.perf_counter()
            tick = _ticking(bar, wish, len(found.done) * wish.each)
            made = generator.generate(label, wish.each, wish.seed, truncation=wish.truncation, progress=tick)
            found.done.append(made)
            found.seconds += time.perf_counter() - start
    except MedAIError as error:
        finish(found)
        problem(error)
        return
    finish(found)
    st.rerun()


def _ticking(bar: st.delta_generator.DeltaGenerator, wish: Wish, before: int) -> Callable[[int, int], None]:
    def tick(done: int, _count: int) -> None:
        at = before + min(done, wish.each)
        bar.progress(min(at / wish.total, 1.0), _("{n} of {all} images").format(n=at, all=wish.total))

    return tick


def current(model: str, labels: Sequence[str]) -> Batch | None:
    """Return the images of the session; those that are ordered are made first, which ends in a rerun.

    For a visitor who comes for the first time a few are ordered; not again when that was stopped or failed.
    """
    begun = f"synth_begun_{model}"
    if held(model) is None and ordered(model) is None and begun not in st.session_state:
        st.session_state[begun] = True
        order(Wish(model, tuple(labels)))
    waiting = ordered(model)
    if waiting is not None:
        work(waiting)
        return None
    return held(model)
