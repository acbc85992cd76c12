"""Real or synthetic? A quiz over the visitor's own images and generated ones, with a result that can be kept."""

from __future__ import annotations

import secrets

import streamlit as st

from medai_core.errors import MedAIError
from medai_core.synthesis.reader_test import MAX_QUESTIONS, MIN_QUESTIONS
from pages.ui import quiz_draw, quiz_result, synth_batch, synth_loaders
from pages.ui.frame import bullets, page, problem
from pages.ui.language import _
from pages.ui.queue import Upload
from pages.ui.quiz_ask import QUIZ, Quiz, asking
from pages.ui.synth_grid import grid_styles
from pages.ui.words import model_name

ROUND = "reader_test_round"
ASKED = (10, 20, 40, 60, 100)
FILES, FOLDER = "files", "folder"


def main() -> None:
    page(
        _("Real or synthetic?"),
        _("A reader test over your own images and generated ones: can anyone tell them apart?"),
    )
    grid_styles()
    quiz: Quiz | None = st.session_state.get(QUIZ)
    if quiz is None:
        setup()
    elif quiz.test.done or quiz.paused:
        finished(quiz)
    else:
        asking(quiz)


def setup() -> None:
    """Ask for images and settings, and start."""
    found = synth_loaders.generator_ids()
    if not found:
        st.info(
            _("No generator of images is installed here, so there is nothing to compare your images with."),
            icon=":material/inventory_2:",
        )
        return
    model = found[0]
    if len(found) > 1:
        model = st.segmented_control(
            _("Kind of image"), found, format_func=model_name, default=found[0], required=True, key="quiz_model",
            persist_state="session",
        )  # fmt: skip
    files = own_files()
    wish = settings(model)
    with st.container(horizontal=True):
        start = st.button(
            _("Start the test"), type="primary", icon=":material/play_arrow:", key="quiz_start", disabled=not files
        )
        practise = st.button(
            _("Practise without own images"), icon=":material/school:", key="quiz_practise",
            help=_("Only generated images: for which label was each made?"),
        )  # fmt: skip
    if not files:
        st.caption(
            _(
                "The test needs your own images, because none of a patient is shipped. Without any, practise: the "
                "images are all synthetic, and the question is which label each was made for."
            )
        )
    if start or practise:
        begin([Upload(file.name, file.getvalue()) for file in files] if start else None, wish)
    how_it_goes()


def own_files() -> list:
    """Show the uploader for files and ZIPs, or for a whole folder."""
    names = {FILES: _("Files or ZIP archives"), FOLDER: _("A folder")}
    kind = st.segmented_control(
        _("Your images"), list(names), format_func=names.__getitem__, default=FILES, required=True, key="quiz_source",
        persist_state="session",
    )  # fmt: skip
    words = _("Drop a folder of real images here") if kind == FOLDER else _("Drop real images or ZIP archives here")
    files = st.file_uploader(
        words, accept_multiple_files="directory" if kind == FOLDER else True,
        key=f"quiz_upload_{kind}_{st.session_state.get(ROUND, 0)}",
    )  # fmt: skip
    st.caption(
        _(
            "DICOM, PNG, JPEG, TIFF, WebP, NIfTI. The files stay in this session and are not stored. Folder or file "
            "names that state a label (normal, viral, …) give a result by label."
        )
    )
    return files


def settings(model: str) -> quiz_draw.Wish:
    """Ask how many images, in which order, and whether answers are told."""
    left, middle, right = st.columns([4, 3, 4], gap="medium", vertical_alignment="bottom")
    with left:
        count = st.select_slider(
            _("Images to judge"), ASKED, 20, key="quiz_count", persist_state="session",
            help=_("Half of them real, half synthetic, in an order drawn from the seed."),
        )  # fmt: skip
    with middle:
        st.session_state.setdefault("quiz_seed", secrets.randbelow(100_000))
        seed = st.number_input(
            _("Seed"), 0, synth_batch.LAST_SEED, key="quiz_seed", persist_state="session",
            help=_("The same seed and the same files give the same test."),
        )  # fmt: skip
    with right:
        told = st.toggle(_("Tell me after each image"), key="quiz_told", persist_state="session")
    return quiz_draw.Wish(model, count, seed, told)


def begin(uploads: list[Upload] | None, wish: quiz_draw.Wish) -> None:
    """Put the test together, with its progress, and show its first image."""
    bar = st.progress(0.0, _("Preparing the images"))

    def tick(done: int, count: int) -> None:
        bar.progress(min(done / max(count, 1), 1.0), _("Preparing the images"))

    try:
        generator = synth_loaders.generator(wish.model)
        if uploads is None:
            test, opened = quiz_draw.practice_test(wish, generator, tick), None
        else:
            test, opened = quiz_draw.own_test(uploads, wish, generator, tick)
    except MedAIError as error:
        bar.empty()
        problem(error)
        return
    st.session_state[QUIZ] = Quiz(wish, test, opened)
    st.rerun()


def how_it_goes() -> None:
    """Say what will happen."""
    st.subheader(_("How it goes"), anchor=False)
    bullets(
        [
            _("One image at a time, real ones and synthetic ones at the same size and prepared in the same way."),
            _("Answer with the mouse or the keys: ← real, → synthetic; when practising, the numbers of the labels."),
            _("While you are asked the synthetic images carry no visible mark; in the result they carry it again."),
            _("Stop whenever you like and go on later in this session; the result is about what you answered."),
            _("Your images that carry a mark of synthetic ones are left out."),
        ]
    )


def finished(quiz: Quiz) -> None:
    """Show the result so far, the way on, and the way to a new test."""
    with st.container(horizontal=True):
        if not quiz.test.done:
            st.button(
                _("Go on with image {n}").format(n=quiz.test.place + 1), type="primary", icon=":material/play_arrow:",
                key="quiz_go_on", on_click=quiz.go_on,
            )  # fmt: skip
        st.button(_("New test"), icon=":material/add:", key="quiz_new", on_click=start_over)
    if quiz.test.answers:
        quiz_result.result(quiz)
    else:
        st.caption(_("Nothing is answered yet."))
    if quiz.opened is not None and (quiz.opened.unreadable or quiz.opened.synthetic):
        st.caption(
            _("Left out of your files: {a} that could not be read, {b} that carry a mark of synthetic images.").format(
                a=quiz.opened.unreadable, b=quiz.opened.synthetic
            )
        )


def start_over() -> None:
    del st.session_state[QUIZ]
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    # A new test is a new draw; who wants the same again types the seed.
    st.session_state["quiz_seed"] = secrets.randbelow(100_000)


assert ASKED[0] >= MIN_QUESTIONS and ASKED[-1] <= MAX_QUESTIONS
main()
