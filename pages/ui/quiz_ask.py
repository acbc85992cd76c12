"""A reader test under way: one image, the choices, and how far along it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import streamlit as st

from medai_core.synthesis.reader_test import REAL, SYNTHETIC, ReaderTest
from pages.ui.language import _
from pages.ui.quiz_draw import Opened, Wish
from pages.ui.synth_grid import SIDE_PX
from pages.ui.viewer import data_uri
from pages.ui.words import label_name

QUIZ = "reader_test"
KEYS = {REAL: "Left", SYNTHETIC: "Right"}

CSS = """<style>
.stHtml .medai-quiz {margin: 0;}
.stHtml .medai-quiz img {width: 100%; aspect-ratio: 1; display: block; margin: 0; border-radius: 6px; background: #000;}
.st-key-quiz_choices button {min-height: 3rem;}
.st-key-quiz_asking {max-width: 28rem; margin: 0 auto;}
</style>"""


@dataclass(eq=False)
class Quiz:
    """A test in the session: the wish it came from, its state, and when the current image was first shown."""

    wish: Wish
    test: ReaderTest
    opened: Opened | None
    paused: bool = False
    shown_at: float | None = None
    shown_place: int = -1
    seconds_before: dict[int, float] = field(default_factory=dict)

    @property
    def practice(self) -> bool:
        return self.opened is None

    def look(self) -> None:
        """Start the clock where an image is shown for the first time, or again after a pause."""
        if self.shown_place != self.test.place or self.shown_at is None:
            self.shown_place, self.shown_at = self.test.place, time.perf_counter()

    def _looked(self) -> float:
        here = time.perf_counter() - self.shown_at if self.shown_at is not None else 0.0
        return here + self.seconds_before.get(self.test.place, 0.0)

    def answer(self, given: str, place: int) -> None:
        """Take an answer, unless it is to an image that is gone: a second press of a key comes too late."""
        if place != self.test.place:
            return
        self.test = self.test.answer(given, self._looked())
        self.shown_at = None

    def undo(self) -> None:
        self.test, self.shown_at = self.test.undo(), None

    def pause(self) -> None:
        """Stop here: the time of the image being looked at is kept, the pause does not count."""
        self.seconds_before[self.test.place] = self._looked()
        self.paused, self.shown_at = True, None

    def go_on(self) -> None:
        self.paused = False


def choice_name(code: str) -> str:
    """Return the word for an answer."""
    return {REAL: _("Real"), SYNTHETIC: _("Synthetic")}.get(code) or label_name(code)


@st.fragment
def asking(quiz: Quiz) -> None:
    """Ask one image after the other; the page is drawn anew only at the end."""
    test = quiz.test
    if test.done or quiz.paused:
        st.rerun()
    quiz.look()
    st.html(CSS)
    place, count = test.place, len(test.questions)
    words = _("Image {n} of {all}").format(n=place + 1, all=count)
    with st.container(key="quiz_asking"):
        st.progress(place / count, words)
        picture = data_uri(test.question.pixels, SIDE_PX)
        st.html(f'<figure class="medai-quiz"><img src="{picture}" alt="{words}"></figure>')
        _told(quiz)
        _choices(quiz, place)
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.button(
                _("Take back the last answer"), icon=":material/undo:", key="quiz_undo", on_click=quiz.undo,
                disabled=not place or quiz.wish.told, type="tertiary",
            )  # fmt: skip
            st.button(_("Stop here"), icon=":material/pause:", key="quiz_pause", on_click=quiz.pause, type="tertiary")


def _choices(quiz: Quiz, place: int) -> None:
    choices = quiz.test.choices
    question = _("For which label was this image made?") if quiz.practice else _("Is this image real or synthetic?")
    st.markdown(f"**{question}**")
    with st.container(key="quiz_choices"):
        for number, (column, choice) in enumerate(zip(st.columns(len(choices)), choices, strict=True)):
            column.button(
                choice_name(choice), key=f"quiz_answer_{choice}", on_click=quiz.answer, args=(choice, place),
                width="stretch", shortcut=KEYS.get(choice, str(number + 1)),
            )  # fmt: skip


def _told(quiz: Quiz) -> None:
    """Say whether the last answer was right, if the visitor wants to know."""
    if not quiz.wish.told or not quiz.test.place:
        return
    last, given = quiz.test.questions[quiz.test.place - 1], quiz.test.answers[-1].given
    truth = choice_name(last.truth)
    if given == last.truth:
        st.success(_("The last one: {truth}. You were right.").format(truth=truth), icon=":material/check:")
    else:
        words = _("The last one: {truth}. You said: {given}.")
        st.warning(words.format(truth=truth, given=choice_name(given)), icon=":material/close:")
