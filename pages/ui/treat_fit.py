"""A model of a visitor's own trial on its way: made in a thread, watched, and stopped when asked."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medai_core.errors import InputError, MedAIError

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
    """

    key: str
    trial: Trial
    horizon: float
    state: str = "running"
    part: str = COMPARING
    share: float = 0.0
    seconds_left: float | None = None
    model: TreatmentModel | None = None
    failure: MedAIError | None = None
    _ask: threading.Event = field(default_factory=threading.Event)
    _families: list[str] = field(default_factory=list)
    _since: float = 0.0

    def start(self) -> Fit:
        threading.Thread(target=self._work, name="medai-treatment", daemon=True).start()
        return self

    def stop(self) -> None:
        """End the work with its next step, a fraction of a second later."""
        self._ask.set()
        if self.state == "running":
            self.state = "stopped"

    def _work(self) -> None:
        from medai_core.tabular.treatment_fit import fit_treatment

        try:
            model, _scores = fit_treatment(self.trial, horizon=self.horizon, progress=self._tell)
            if not self._ask.is_set():
                self.model, self.state = model, "done"
        except _Stopped:
            self.state = "stopped"
        except MedAIError as error:
            self.failure, self.state = error, "failed"
        except Exception:
            log.exception("a model of a trial could not be made")
            self.failure = InputError("The work stopped at an unexpected error; the log of the server says which.")
            self.state = "failed"

    def _tell(self, what: str, done: int, of: int) -> None:
        """Take note of a step, and leave if asked to."""
        from medai_core.tabular.survival import STORED

        if self._ask.is_set():
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
