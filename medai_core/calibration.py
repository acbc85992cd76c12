"""From scores to probabilities that mean what they say, and to sets of answers with a promised coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import ArtifactError, InputError
from medai_core.metrics import bin_of, check_labels, check_outcome

SCALE_BOUNDS = (0.01, 100.0)
BIAS_BOUNDS = (-20.0, 20.0)


@dataclass(frozen=True, eq=False)
class VectorScaling:
    """``softmax(scale * logits + bias)`` (Guo et al., ICML 2017, section 4.2).

    With one shared scale and no bias this is temperature scaling, the scale being one over the temperature.

    Attributes
    ----------
    scale, bias : NDArray[np.float64], shape (K,)
    """

    scale: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __call__(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Probabilities over the last axis of ``logits``, (K,) or (N, K), shape as given."""
        z = np.asarray(logits, dtype=float)
        if z.ndim == 0 or z.shape[-1] != self.scale.size:
            raise InputError("`logits` must have {k} columns, got shape {shape}", k=self.scale.size, shape=z.shape)
        return np.exp(_log_softmax(z * self.scale + self.bias))

    @classmethod
    def fit(
        cls, logits: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, *, shared: bool = False
    ) -> VectorScaling:
        """Minimise the weighted negative log-likelihood; a convex problem, solved by L-BFGS-B.

        Parameters
        ----------
        logits : array_like, shape (N, K)
            Of cases the network was not trained on.
        labels : array_like, shape (N,)
            Class numbers.
        weights : array_like, shape (N,), optional
            See :func:`prevalence_weights`.
        shared : bool
            One scale for all classes and no bias: temperature scaling.

        Notes
        -----
        Scales stay within 0.01 and 100 and biases within ±20, so classes that separate perfectly give
        a finite answer. Biases are centred: a common shift changes no probability.
        """
        z, y = np.asarray(logits, dtype=float), np.asarray(labels)
        check_labels(z, y)
        w = _weights(weights, len(z))
        scales, biases = (1, 0) if shared else (z.shape[1], z.shape[1])
        solution = _minimise(z, y, w / w.sum(), scales, biases)
        scale, bias = np.broadcast_to(solution[:scales], z.shape[1]).copy(), np.zeros(z.shape[1])
        if biases:
            bias = solution[scales:] - solution[scales:].mean()
        return cls(scale, bias)

    def to_dict(self) -> dict[str, list[float]]:
        return {"scale": self.scale.tolist(), "bias": self.bias.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[float]]) -> VectorScaling:
        """Inverse of :meth:`to_dict`; raises ArtifactError when the lists are no calibration."""
        try:
            scale, bias = np.array(stored["scale"], dtype=float), np.array(stored["bias"], dtype=float)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError("A calibration must hold `scale` and `bias`: {error}", error=repr(error)) from error
        if scale.ndim != 1 or not scale.size or scale.shape != bias.shape or not np.isfinite([scale, bias]).all():
            raise ArtifactError(
                "`scale` and `bias` must be finite lists of one length, got {scale} and {bias}",
                scale=scale.tolist(),
                bias=bias.tolist(),
            )
        return cls(scale, bias)


def _minimise(
    z: NDArray[np.float64], y: NDArray[np.integer], w: NDArray[np.float64], scales: int, biases: int
) -> NDArray[np.float64]:
    from scipy.optimize import minimize

    rows, wanted = np.arange(len(z)), np.eye(z.shape[1])[y]

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_p = _log_softmax(z * x[:scales] + (x[scales:] if biases else 0.0))  # (N, K)
        residual = w[:, None] * (np.exp(log_p) - wanted)  # (N, K), gradient by scaled logit
        by_scale = (residual * z).sum(axis=0)
        gradient = [by_scale if scales > 1 else by_scale.sum(keepdims=True), residual.sum(axis=0)[:biases]]
        return float(-(w * log_p[rows, y]).sum()), np.concatenate(gradient)

    start = np.concatenate([np.ones(scales), np.zeros(biases)])
    bounds = [SCALE_BOUNDS] * scales + [BIAS_BOUNDS] * biases
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def _log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def prevalence_weights(labels: ArrayLike, prevalence: ArrayLike) -> NDArray[np.float64]:
    """Weights (N,), with mean 1, under which class k makes up ``prevalence[k]`` of the cases.

    Parameters
    ----------
    labels : array_like, shape (N,)
        Class numbers.
    prevalence : array_like, shape (K,)
        Above 0; scaled to sum to 1. Each class must occur in ``labels``.
    """
    y, wanted = np.asarray(labels), np.asarray(prevalence, dtype=float)
    counts = np.bincount(y, minlength=wanted.size)
    if counts.size != wanted.size or not counts.all() or not (wanted > 0).all():
        raise InputError(
            "Each class needs a prevalence above 0 and a case, got prevalence {prevalence} and counts {counts}",
            prevalence=wanted.tolist(),
            counts=counts.tolist(),
        )
    return (wanted / wanted.sum() * y.size / counts)[y]


def at_prevalence(probability: float, calibrated_for: float, prevalence: float) -> float:
    """Move the probability of an outcome from one prevalence to another.

    Bayes' rule with unchanged likelihoods (Saerens, Latinne & Decaestecker 2002).

    Parameters
    ----------
    probability : float
        In [0, 1].
    calibrated_for, prevalence : float
        The prevalence it holds at, and the one it is wanted at; both in (0, 1).

    Raises
    ------
    InputError
        A prevalence is outside (0, 1).
    """
    if not 0 <= probability <= 1:
        raise InputError("`probability` must be between 0 and 1, got {value}", value=probability)
    for name, value in (("calibrated_for", calibrated_for), ("prevalence", prevalence)):
        if not 0 < value < 1:
            raise InputError("`{name}` must be between 0 and 1, got {value}", name=name, value=value)
    yes = probability * prevalence / calibrated_for
    no = (1 - probability) * (1 - prevalence) / (1 - calibrated_for)
    return yes / (yes + no)


def conformal_threshold(
    probs: ArrayLike, labels: ArrayLike, coverage: float = 0.90, weights: ArrayLike | None = None
) -> float:
    """Threshold on ``1 - p(class)`` whose sets hold the truth in ``coverage`` of new, exchangeable cases.

    Parameters
    ----------
    probs : array_like, shape (N, K)
        Calibrated by other cases than these.
    labels : array_like, shape (N,)
        Class numbers.
    coverage : float
        Promised share of sets that hold the true class, in (0, 1).
    weights : array_like, shape (N,), optional
        For cases drawn with other frequencies than the new ones (Tibshirani et al. 2019); the new case
        is given the mean weight.

    Returns
    -------
    float
        In [0, 1]; 1, every class, when N is too small for the promise.

    Notes
    -----
    Split conformal prediction with the LAC score (Sadinle, Lei & Wasserman 2019): the
    ``ceil((N + 1) * coverage)``-th smallest of ``1 - p(true class)``.
    """
    if not 0 < coverage < 1:
        raise InputError("`coverage` must be between 0 and 1, got {coverage}", coverage=coverage)
    p, y = np.asarray(probs, dtype=float), np.asarray(labels)
    check_labels(p, y)
    score = 1 - p[np.arange(len(p)), y]
    w = _weights(weights, len(p))
    order = np.argsort(score)
    reached = np.cumsum(w[order]) / (w.sum() + w.mean())
    # The tolerance keeps 9 of 10 at 0.9: sums of weights are rounded.
    enough = reached >= coverage - 1e-12
    return float(score[order][enough.argmax()]) if enough.any() else 1.0


def prediction_set(probs: ArrayLike, threshold: float) -> tuple[int, ...]:
    """Classes (of K,) the threshold admits, most probable first.

    Where it admits none, the case is unlike those it was chosen on, and the two most probable are returned: more
    than the promised coverage asks for, and never one class that is not probable enough by itself.
    """
    p = np.asarray(probs, dtype=float)
    order = np.argsort(-p, kind="stable")
    admitted = [int(k) for k in order if 1 - p[k] <= threshold]
    return tuple(admitted or order[:2].tolist())


def reliability_curve(probs: ArrayLike, outcome: ArrayLike, bins: int = 10) -> list[dict[str, float]]:
    """Stated against observed frequency in equal-width bins.

    Parameters
    ----------
    probs : array_like, shape (N,)
        Probability of the finding.
    outcome : array_like, shape (N,)
        0 or 1.

    Returns
    -------
    list of dict
        ``mean_probability``, ``observed`` (share) and ``n`` of each bin that holds a case, ascending.
    """
    p, y = check_outcome(probs, outcome)
    which = bin_of(p, bins)
    n = np.bincount(which, minlength=bins)
    stated, seen = (np.bincount(which, weights=v, minlength=bins) for v in (p, y))
    return [
        {"mean_probability": float(stated[b] / n[b]), "observed": float(seen[b] / n[b]), "n": int(n[b])}
        for b in np.flatnonzero(n)
    ]


def _weights(weights: ArrayLike | None, size: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(size)
    w = np.asarray(weights, dtype=float)
    if w.shape != (size,) or not np.isfinite(w).all() or (w < 0).any() or not math.fsum(w) > 0:
        raise InputError(
            "`weights` must be finite, 0 or more, not all 0, and of shape ({size},), got shape {shape}",
            size=size,
            shape=w.shape,
        )
    return w
