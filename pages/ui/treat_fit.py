"""A model of a visitor's own trial on its way: made in a thread, watched, and stopped when asked.

The thread holds the work weakly: when the visitor's session ends, nobody wants the model any more, and it stops too.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medai_core.errors import InputError, MedAIError
from pages.ui.tabtrain_run import turn

if TYPE_CHECKING:
    from medai_core.tabular.treatment import TreatmentModel
    from medai_core.tabular.trial import Trial

COMPARING, CHOOSING, RESAMPLING = "compare", "policy", "resamples"
BEGINS = {COMPARING: 0.0, CHOOSING: 0.2, RESAMPLING: 0.25}
"""Where each part begins, as a share of the whole work."""
log = logging.getLogger(__name__)


class _Stopped(Exception):
    """Raised inside the work to end it."""


@dataclass(eq=False)
class Fit:
    """The work on one trial; ``model`` is there when ``state`` is ``done``.

    Parameters
    ----------
    key : str
        Of the trial with its columns and its horizon.
    trial : Trial
    horizon : float
        Days.

    Attributes
    ----------
    state : str
        ``running``, ``stopped``, ``failed`` or ``done``.
    waiting : bool
        Running, but for another visitor's training to end.
    """

    key: str
    trial: Trial
    horizon: float
    state: str = "running"
    waiting: bool = True
    part: str = COMPARING
    share: float = 0.0
    seconds_left: float | None = None
    model: TreatmentModel | None = None
    failure: MedAIError | None = None
    _ask: threading.Event = field(default_factory=threading.Event)
    _families: list[str] = field(default_factory=list)
    _since: float = 0.0

    def start(self) -> Fit:
        work = (weakref.ref(self), self.trial, self.horizon)
        threading.Thread(target=_work, args=work, name="medai-treatment", daemon=True).start()
        return self

    @property
    def asked_to_stop(self) -> bool:
        return self._ask.is_set()

    def stop(self) -> None:
        """End the work with its next step, a fraction of a second later."""
        self._ask.set()
        if self.state == "running":
            self.state = "stopped"

    def tell(self, what: str, done: int, of: int) -> None:
        """Take note of a step, and leave if asked to."""
        from medai_core.tabular.survival import STORED

        if self.asked_to_stop:
            raise _Stopped
        now, part = time.monotonic(), what if what in BEGINS else COMPARING
        if part == COMPARING:
            if what not in self._families:
                self._families.append(what)
            of_all = of * (len(STORED) + 1)  # and the Kaplan-Meier curves
            done, of = of * (len(self._families) - 1) + done, max(of_all, of * len(self._families))
        if part != self.part or not self._since:
            self.part, self._since = part, now
        ends = [*BEGINS.values(), 1.0]
        begin = BEGINS[part]
        self.share = begin + (ends[ends.index(begin) + 1] - begin) * min(done / of, 1.0)
        self.seconds_left = (now - self._since) / done * (of - done) if part == RESAMPLING and done > 3 else None


def _work(held: weakref.ref[Fit], trial: Trial, horizon: float) -> None:
    """Make the model, when it is its turn; what goes wrong becomes the failure of the work."""

    def put(**what: object) -> None:
        fit = held()
        for name, value in what.items() if fit is not None else ():
            setattr(fit, name, value)

    while not turn.acquire(timeout=0.5):
        if (fit := held()) is None or fit.asked_to_stop:
            return
        del fit
    try:
        put(waiting=False)
        put(**_made(held, trial, horizon))
    finally:
        turn.release()


def _made(held: weakref.ref[Fit], trial: Trial, horizon: float) -> dict[str, object]:
    """What became of the work, as attributes of a :class:`Fit`."""
    from medai_core.tabular.treatment_fit import fit_treatment

    def tell(what: str, done: int, of: int) -> None:
        if (fit := held()) is None:
            raise _Stopped
        fit.tell(what, done, of)

    try:
        model, _scores = fit_treatment(trial, horizon=horizon, progress=tell)
        fit = held()
        return {} if fit is None or fit.asked_to_stop else {"model": model, "state": "done"}
    except _Stopped:
        return {"state": "stopped"}
    except MedAIError as error:
        return {"failure": error, "state": "failed"}
    except MemoryError:
        told = InputError("There is not enough memory to train on this table; use fewer rows or columns.")
        return {"failure": told, "state": "failed"}
    except Exception:
        log.exception("a model of a trial could not be made")
        told = InputError("The work stopped at an unexpected error; the log of the server says which.")
        return {"failure": told, "state": "failed"}
