"""Explaining many patients piece by piece: how long it will take is said first, and it can be stopped."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages.ui.tabx_state import View

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.risk_model import RiskModel

WORKS, KEPT = "tabx_works", 6
PIECE_SECONDS = 0.4
LEAST, MOST = 4, 256
SEED = 0


@dataclass(eq=False)
class Work:
    """The explanation of many rows, in the order of `rows`.

    Attributes
    ----------
    rows : NDArray[np.intp], shape (N,)
        Places among the patients, in random order: what is done at a stop is a fair sample.
    seconds : float
        Estimated for all.
    state : str
        ``waiting``, ``running``, ``stopped`` or ``done``.
    """

    model: RiskModel
    family: str
    label: str | None
    probability: bool
    x: NDArray[np.float64]
    rows: NDArray[np.intp]
    seconds: float
    state: str = "waiting"
    parts: list[Explanation] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        return sum(len(part.x) for part in self.parts)

    @property
    def left_seconds(self) -> float:
        return self.seconds * (1 - self.done / max(1, len(self.rows)))

    def start(self) -> None:
        self.state = "running"

    def stop(self) -> None:
        """Stop with the piece under way, keeping what is done."""
        if self.state == "running":
            self.state = "stopped" if self.parts else "waiting"

    def work(self, slice_seconds: float) -> None:
        """Explain for about so long, one piece at least."""
        with self._lock:
            start = time.perf_counter()
            while self.state == "running":
                begin = self.done
                piece = self.x[self.rows[begin : begin + self._piece()]]
                told = self.model.explain(piece, self.family, self.label, probability=self.probability)
                self.parts.append(told)
                if self.done >= len(self.rows):
                    self.state = "done"
                if time.perf_counter() - start >= slice_seconds:
                    return

    def _piece(self) -> int:
        each = self.seconds / max(1, len(self.rows))
        return int(np.clip(PIECE_SECONDS / max(each, 1e-6), LEAST, MOST))

    @property
    def result(self) -> tuple[Explanation, NDArray[np.intp]]:
        """What is explained so far, and which patients these are."""
        if len(self.parts) > 1:
            self.parts = [joined(self.parts)]
        return self.parts[0], self.rows[: self.done]


def joined(parts: list[Explanation]) -> Explanation:
    """Return one explanation of the rows of several."""
    merged = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "values", "predictions")}
    merged |= {name: max(getattr(part, name) for part in parts) for name in ("additivity_error", "sampling_error")}
    return type(parts[0])(**{**vars(parts[0]), **merged, "seconds": sum(part.seconds for part in parts)})


def work_of(view: View, count: int) -> Work:
    """Return the work on so many patients, estimated when first asked; a few are kept for the session."""
    works: dict[tuple[object, ...], Work] = st.session_state.setdefault(WORKS, {})
    key = (view.ident, view.family, view.label, view.probability, view.patients.digest, count)
    if key not in works:
        seconds = view.model.estimate(count, view.family, probability=view.probability)
        rows = np.random.default_rng(SEED).permutation(len(view.patients))[:count]
        # Rows of one key are the same model's: the label is fixed, so that pieces explain one class.
        works[key] = Work(
            view.model, view.family, view.label, view.probability, view.patients.x, rows, seconds
        )  # fmt: skip
        for old in list(works)[:-KEPT]:
            del works[old]
    return works[key]
