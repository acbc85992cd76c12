"""How trees and network become one calibrated risk at every hour, and trees of a few hours a course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import ArtifactError
from medai_core.icu.grid import HOURS

ANCHORS = (1, 3, 6, 12, 18, 24, 36, 48)
"""Hours with trees and a calibration of their own; the hours between are interpolated."""


def anchor_weights() -> NDArray[np.float64]:
    """How much each anchor counts at each hour, shape (48, A); rows sum to 1."""
    hours = np.arange(1, HOURS + 1)
    return np.stack([np.interp(hours, ANCHORS, row) for row in np.eye(len(ANCHORS))], axis=1)


KNEE = -3.0
"""Logit, of a risk of 5 %, below which log-odds fall twice as fast: trees and network alike call the patients at
lowest risk too ill. On held-out stays this does better than no knee, and than a slope fitted beside the weights."""


def bent(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """``z - softplus(KNEE - z)``: the same far above the knee, twice the slope far below; shape as given."""
    below = KNEE - z
    return z - np.maximum(below, 0) - np.log1p(np.exp(-np.abs(below)))


@dataclass(frozen=True, eq=False)
class Blend:
    """``logit(risk) = z - softplus(KNEE - z)`` with ``z = trees * a + network * b + c``.

    a and b are at least 0, so the risk rises with both; all three go by hour.

    Attributes
    ----------
    coefficients : NDArray[np.float64], shape (A, 3)
        a, b and c at each of :data:`ANCHORS`.
    """

    coefficients: NDArray[np.float64]

    @classmethod
    def fit(cls, trees: ArrayLike, network: ArrayLike, died: ArrayLike, ridge: float = 1e-3) -> Blend:
        """Fit on held-out logits (N, 48) by maximum likelihood.

        Parameters
        ----------
        ridge : float
            Pull towards the mean of the two logits, per stay.
        """
        from scipy.optimize import minimize

        at = np.array(ANCHORS) - 1
        t, n = np.asarray(trees, dtype=float)[:, at], np.asarray(network, dtype=float)[:, at]
        y = np.asarray(died, dtype=float)[:, None]

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            a, b, c = flat.reshape(3, -1)
            z = t * a + n * b + c  # (N, A)
            logit, slope = bent(z), 1 + 1 / (1 + np.exp(z - KNEE))
            residual = (1 / (1 + np.exp(-logit)) - y) / len(y) * slope
            pull = np.stack([a - 0.5, b - 0.5])
            gradient = np.stack([(residual * t).sum(0), (residual * n).sum(0), residual.sum(0)])
            gradient[:2] += 2 * ridge * pull
            value = (np.logaddexp(0, logit) - y * logit).sum() / len(y) + ridge * (pull**2).sum()
            return float(value), gradient.ravel()

        size = len(ANCHORS)
        bounds = [(0.0, 5.0)] * (2 * size) + [(-10.0, 10.0)] * size
        start = np.r_[np.full(2 * size, 0.5), np.zeros(size)]
        return cls(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.reshape(3, size).T)

    def __call__(self, trees: ArrayLike, network: ArrayLike) -> NDArray[np.float64]:
        """Risk (..., 48) from logits (..., 48)."""
        a, b, c = (anchor_weights() @ self.coefficients).T
        return 1 / (1 + np.exp(-bent(np.asarray(trees) * a + np.asarray(network) * b + c)))

    def log_odds_at(self, hour: int, trees: ArrayLike, network: ArrayLike) -> NDArray[np.float64]:
        """Calibrated log-odds (...) at one hour, 1 to 48, from logits (...) of that hour."""
        a, b, c = anchor_weights()[hour - 1] @ self.coefficients
        return bent(np.asarray(trees) * a + np.asarray(network) * b + c)

    def to_dict(self) -> dict[str, Any]:
        return {"hours": list(ANCHORS), "coefficients": self.coefficients.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[Any]]) -> Blend:
        table = np.array(stored.get("coefficients", ()), dtype=float)
        if (
            list(stored.get("hours", ())) != list(ANCHORS)
            or table.shape != (len(ANCHORS), 3)
            or not np.isfinite(table).all()
        ):
            raise ArtifactError(
                "A blend must hold three finite coefficients for each of the hours {hours}", hours=ANCHORS
            )
        return cls(table)
