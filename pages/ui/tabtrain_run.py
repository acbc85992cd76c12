"""A training under way: in a thread of its own, with progress, and a stop that stops.

The thread holds the run weakly: when the visitor's session ends, nobody wants the models any more, and it stops too.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import InputError, MedAIError
from pages.ui import tab_models
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.tab_words import duration, family_name
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.tabular.compare import Progress, Study
    from medai_core.tabular.problem import Problem
    from medai_core.tabular.tables import Table

RUN = tab_models.PENDING
LOOK_SECONDS = 1.0
WAITING, FITTING, MEASURING, DONE, FAILED = "waiting", "fitting", "measuring", "done", "failed"
turn = threading.Semaphore(1)
"""One training at a time, of tables and trials: two would take twice as long each, and twice the memory."""
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Run:
    """One training: what was asked, how far it is, and what came of it.

    Attributes
    ----------
    state : str
        ``waiting`` for another visitor's training, ``fitting``, ``measuring``, ``done`` or ``failed``.
    trained : Trained or None
        When it is done.
    error : MedAIError or None
        When it failed.
    stopped : bool
        Whether the visitor stopped it.
    """

    problem: Problem | None
    table: Table
    families: tuple[str, ...]
    title: str
    task: str
    state: str = WAITING
    progress: Progress | None = None
    trained: tab_models.Trained | None = None
    error: MedAIError | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    stopped: bool = False

    @property
    def alive(self) -> bool:
        return self.state not in (DONE, FAILED)


def begin(prepared: Problem, table: Table, families: tuple[str, ...], title: str) -> Run:
    """Start a training; its result is kept by :func:`pages.ui.tab_models.kept` when it is there."""
    run = Run(prepared, table, families, title, prepared.plan.task)
    st.session_state[RUN] = run
    threading.Thread(target=_work, args=(weakref.ref(run),), daemon=True, name="medai-table-training").start()
    return run


def running() -> Run | None:
    """Return the run of this visitor, whether it is under way or its end was not seen yet."""
    return st.session_state.get(RUN)


def _work(held: weakref.ref[Run]) -> None:
    """Do the training; what goes wrong becomes the run's error."""

    def stop() -> bool:
        run = held()
        return run is None or run.stop.is_set()

    def put(**what: object) -> None:
        run = held()
        for name, value in what.items() if run is not None else ():
            setattr(run, name, value)

    while not turn.acquire(timeout=0.5):
        if stop():
            put(state=FAILED, error=InputError("No model was complete when the training was stopped."))
            return
    try:
        trained = _trained(held, stop, put)
        put(trained=trained, state=DONE)
    except MedAIError as error:
        put(error=error, state=FAILED)
    except MemoryError:
        put(error=InputError("There is not enough memory to train on this table; use fewer rows or columns."),
            state=FAILED)  # fmt: skip
    except Exception:
        log.exception("a training failed")
        put(error=InputError("The training stopped at an unexpected error; the log of the server says which."),
            state=FAILED)  # fmt: skip
    finally:
        turn.release()


def _trained(
    held: weakref.ref[Run], stop: Callable[[], bool], put: Callable[..., None]
) -> tab_models.Trained | None:  # fmt: skip
    from medai_core.tabular.compare import compare

    run = held()
    if run is None:
        return None
    asked, families, table, title = run.problem, run.families, run.table, run.title
    put(state=FITTING, problem=None)
    del run
    study = compare(asked, families, progress=lambda step: put(progress=step), stop=stop)
    put(state=MEASURING, stopped=study.stopped)
    if held() is None:
        return None
    return _bundled(study, table, title)


def _bundled(study: Study, table: Table, title: str) -> tab_models.Trained:
    """Measure the study and make a model of it, of which no file stays behind."""
    from medai_core.tabular.bundles import save_study, to_zip
    from medai_core.tabular.cards import card_of, slug

    with tempfile.TemporaryDirectory(prefix="medai-") as folder:
        bundle = save_study(study, Path(folder) / slug(title), card_of(study, table, title))
        return tab_models.Trained(title, tab_models.in_memory(bundle), to_zip(bundle), table)


# --------------------------------------------------------------------------------------------------- panel


@st.fragment(run_every=LOOK_SECONDS)
def panel() -> None:
    """Show how far the training is; a fragment that looks again by itself."""
    run = running()
    if run is None or not run.alive:
        st.rerun()
        return
    st.markdown(f":material/model_training: **{plain(run.title)}**")
    with st.container(horizontal=True, vertical_alignment="center"):
        share, words = said_of(run)
        st.progress(share, words)
        st.button(
            _("Stopping") if run.stop.is_set() else _("Stop"), icon=":material/stop:", on_click=run.stop.set,
            disabled=run.stop.is_set(), key="tabtrain_stop",
        )  # fmt: skip
    if run.stop.is_set():
        st.caption(_("Stopping after the step under way. Models that are complete are kept."))
    else:
        st.caption(_("You can look at other pages meanwhile."))
    families(run)


def said_of(run: Run) -> tuple[float, str]:
    """Return how much is done, and in words."""
    if run.state == WAITING:
        return 0.0, _("Another training is under way; this one waits for it")
    if run.state == MEASURING:
        return 1.0, _("Measuring what was held out, and saving")
    step = run.progress
    if step is None:
        return 0.0, _("First fit")
    left = _("about {time} left").format(time=duration(step.left))
    return min(step.done / step.of, 1.0), _("{n} of {all} fits").format(n=step.done, all=step.of) + f" · {left}"


def families(run: Run) -> None:
    """Show which models are complete, and which is being fitted."""
    step = run.progress
    done = step.finished if step else ()
    waiting = [family for family in run.families if family not in done]
    marks = {family: "check_circle" for family in done}
    if run.state == FITTING and waiting:
        marks[waiting[0]] = "pending"
    st.markdown(
        " &nbsp; ".join(
            f":material/{marks.get(family, 'radio_button_unchecked')}: {family_name(family, run.task)}"
            for family in run.families
        )
    )


def seen() -> Run | None:
    """Take the run whose end has not been shown yet off the session, and return it."""
    run = running()
    if run is None or run.alive:
        return None
    tab_models.collect()
    del st.session_state[RUN]
    return run


def say_end(run: Run) -> None:
    """Say how a training ended, where it did not end well."""
    if run.error is not None:
        problem(run.error)
    elif run.stopped:
        st.warning(_("Stopped. Models that were complete by then are kept."), icon=":material/stop_circle:")
