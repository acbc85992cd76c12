"""The public face of the wing: a trained table model, shipped or the user's own.

model = load_risk_model("breast_cancer")
model.predict(rows)[0].probabilities
model.explain(rows, family="svm").waterfall()
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_arrays
from medai_core.calibration import prediction_set
from medai_core.errors import InputError, Message, say
from medai_core.tabular.bundles import (
    HELD,
    background_of,
    check_bundle,
    encoder_of,
    families_of,
    load_member,
    load_unlikeness,
)
from medai_core.tabular.encoder import Encoder, Rows
from medai_core.tabular.explain import Explainer, Explanation
from medai_core.tabular.fitting import Member, probabilities
from medai_core.tabular.models import BLEND, NETWORK
from medai_core.tabular.problem import BINARY, SURVIVAL, VALUE
from medai_core.tabular.tables import distinct
from medai_core.tabular.time_to_event import Baseline

Matrix = NDArray[np.float64]
FREE, EVENT = "free", "event"
UNLIKE = 0.99
"""From this share on a row is called unlike the training rows."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one row.

    Attributes
    ----------
    family : str
        The model that answered.
    probabilities : dict[str, float]
        By label, calibrated; empty for a number.
    label : str or None
        The most probable one.
    value : float or None
        Of a number.
    prediction_set : tuple[str, ...]
        Labels that hold the truth in nine of ten patients like those of training, most probable first.
    interval : tuple[float, float] or None
        Of a number, with the same promise.
    refer : bool
        Whether the set holds more than one label, or the row is unlike the training rows.
    unlikeness : float or None
        Share of training rows that the autoencoder gives back better, 0 to 1; None where it was not asked.
    extrapolated : tuple[str, ...]
        Features outside the trained range.
    cautions : tuple[Message, ...]
    """

    family: str
    probabilities: dict[str, float]
    label: str | None
    value: float | None
    prediction_set: tuple[str, ...]
    interval: tuple[float, float] | None
    refer: bool
    unlikeness: float | None
    extrapolated: tuple[str, ...]
    cautions: tuple[Message, ...]

    def to_json(self) -> dict[str, Any]:
        """As one line of the command line."""
        return {
            "model": self.family, "probabilities": self.probabilities, "label": self.label, "value": self.value,
            "prediction_set": list(self.prediction_set),
            "interval": None if self.interval is None else list(self.interval), "refer": self.refer,
            "unlikeness": self.unlikeness, "cautions": [str(caution) for caution in self.cautions],
        }  # fmt: skip


class RiskModel:
    """All families trained on one table; safe to share between threads. Families are loaded when first asked.

    Parameters
    ----------
    bundle : Bundle
        Of a table model.

    Attributes
    ----------
    task : str
        ``binary``, ``classes``, ``number`` or ``time_to_event``.
    target : str
    labels : tuple[str, ...]
        Of two the second is the positive one. Of ``time_to_event`` ``free`` and ``event``: by the horizon.
    horizon : float or None
        Of ``time_to_event``: the time whose probability is given, in the target's unit.
    encoder : Encoder
        The features, with units, ranges and levels.
    families : tuple[str, ...]
    best : str
        The family with the lowest held-out loss.
    background : Matrix, shape (B, D)
    """

    def __init__(self, bundle: Bundle) -> None:
        check_bundle(bundle)
        constants = bundle.preprocessing
        self.bundle, self.task, self.target = bundle, str(constants["task"]), str(constants["target"])
        times = constants.get("times")
        self.horizon = float(times["horizon"]) if times else None
        self.labels = tuple(constants["labels"]) if times is None else (FREE, EVENT)
        self.encoder: Encoder = encoder_of(bundle)
        self.families = families_of(bundle)
        self.best = str(constants["best"])
        self.background = background_of(bundle)
        self._lock = threading.RLock()
        self._members: dict[str, Member] = {}
        self._explainers: dict[str, Explainer] = {}

    # ------------------------------------------------------------------------------------------- predict

    def member(self, family: str | None = None) -> Member:
        """One family, the best by default."""
        name = family or self.best
        with self._lock:
            if name not in self._members:
                self._members[name] = load_member(self.bundle, name)
            return self._members[name]

    def whole(self) -> RiskModel:
        """Load all there is, so that the bundle's files are not needed any more."""
        for name in self.families:
            self.member(name)
        self.held()
        _ = self._unlikeness
        return self

    @cached_property
    def _unlikeness(self) -> Any:
        return load_unlikeness(self.bundle)

    def read(self, rows: Rows) -> tuple[Matrix, list[list[Message]]]:
        """Encode rows; see :meth:`Encoder.read`."""
        return self.encoder.read(rows)

    def answer(self, x: Matrix, family: str | None = None) -> Matrix:
        """Probability of the positive label (N,), of each label (N, K), or values (N,), of encoded rows (N, D)."""
        link = self.member(family).link(x)
        if self.horizon is not None:
            return 1 - self._baseline(family).event_free(link[:, 0], np.array([self.horizon]))[:, 0]
        return probabilities(link, self.task)

    def _baseline(self, family: str | None) -> Baseline:
        return Baseline.from_dict(self.bundle.preprocessing["times"]["baselines"][family or self.best])

    def event_free(self, rows: Rows, times: Matrix, family: str | None = None) -> Matrix:
        """Probability (N, T) of being free of the event after each time; of ``time_to_event`` alone.

        Raises
        ------
        InputError
            If the model predicts something else.
        """
        if self.horizon is None:
            raise InputError("Only models of times to an event have such curves, not the task {task}", task=self.task)
        link = self.member(family).link(self.read(rows)[0])[:, 0]
        return self._baseline(family).event_free(link, np.asarray(times, float))

    def predict(self, rows: Rows, family: str | None = None, *, unlikeness: bool = False) -> list[Prediction]:
        """Answer for rows.

        Parameters
        ----------
        rows : DataFrame, mapping or sequence of mappings
            By the features' names; other columns are passed over.
        family : str, optional
            The best one by default.
        unlikeness : bool
            Ask the autoencoder as well, which loads the networks' library on first use.

        Raises
        ------
        InputError
            If a column is missing or holds no numbers.
        """
        x, cautions = self.read(rows)
        found, name = self.answer(x, family), family or self.best
        unlike = self._unlikeness.percentile(x) if unlikeness and self._unlikeness is not None else None
        outside = self.encoder.outside(x)
        return [
            self._prediction(name, found[k], None if unlike is None else float(unlike[k]), outside[k], cautions[k])
            for k in range(len(x))
        ]

    def _prediction(
        self, family: str, found: Any, unlike: float | None, outside: NDArray[np.bool_], cautions: list[Message]
    ) -> Prediction:
        cautions = list(cautions)
        is_unlike = unlike is not None and unlike >= UNLIKE
        if is_unlike:
            cautions.append(say("This row is less like the training rows than 99 in 100 of them are."))
        width = float(self.bundle.preprocessing["widths"][family])
        extrapolated = tuple(name for name, out in zip(self.encoder.names, outside, strict=True) if out)
        rest = {"unlikeness": unlike, "extrapolated": extrapolated, "cautions": tuple(cautions)}
        if self.task == VALUE:
            value = float(found)
            return Prediction(family, {}, None, value, (), (value - width, value + width), is_unlike, **rest)
        shares = np.array([1 - found, found]) if np.ndim(found) == 0 else np.asarray(found)
        # No promise can be made of times: for many rows nobody knows what happened by the horizon.
        sets = () if self.task == SURVIVAL else prediction_set(shares, width)
        admitted = tuple(self.labels[k] for k in sets)
        named = {label: float(share) for label, share in zip(self.labels, shares, strict=True)}
        label = max(named, key=named.__getitem__)
        return Prediction(family, named, label, None, admitted, None, len(admitted) > 1 or is_unlike, **rest)

    def score(self, frame: pd.DataFrame, family: str | None = None) -> pd.DataFrame:
        """New rows with the answer beside them: probabilities or value, label, set, and cautions as text.

        No column of the rows is lost: where it has the name of an answer, the answer is called ``label (2)``.
        """
        answers = self.predict(frame, family)
        added: dict[str, list[Any]] = {}
        if self.task == VALUE:
            added[f"predicted {self.target}"] = [one.value for one in answers]
            added["low"], added["high"] = zip(*(one.interval or () for one in answers), strict=True)
        else:
            for label in self.labels:
                added[f"probability of {label}"] = [one.probabilities[label] for one in answers]
            added["label"] = [one.label for one in answers]
            added["prediction set"] = [" or ".join(one.prediction_set) for one in answers]
        added["cautions"] = [" ".join(map(str, one.cautions)) for one in answers]
        names = [str(name) for name in frame.columns]
        return frame.assign(**dict(zip(distinct([*names, *added])[len(names) :], added.values(), strict=True)))

    # ------------------------------------------------------------------------------------------- explain

    def explainer(self, family: str | None = None) -> Explainer:
        """The explainer of one family, built on first use."""
        name = family or self.best
        with self._lock:
            if name not in self._explainers:
                self._explainers[name] = Explainer(self.member(name), self.background, self.encoder, self.task)
            return self._explainers[name]

    def explain(
        self, rows: Rows | Matrix, family: str | None = None, label: str | None = None, *, probability: bool = False
    ) -> Explanation:
        """SHAP values of rows.

        Parameters
        ----------
        rows : as of :meth:`predict`, or encoded rows (N, D)
        label : str, optional
            The class explained, where there are more than two; by default the most probable of the first row.
        probability : bool
            On the scale of the probability (approximate) instead of log-odds.
        """
        x = rows if isinstance(rows, np.ndarray) else self.read(rows)[0]
        return self.explainer(family).explain(x, self._output(x, family, label), probability=probability)

    def _output(self, x: Matrix, family: str | None, label: str | None) -> int:
        if len(self.labels) < 3:
            return 1
        if label is not None:
            return self.labels.index(label)
        return int(np.argmax(self.answer(x[:1], family)[0]))

    def explain_all(self, row: Rows | Matrix, families: Sequence[str] | None = None) -> dict[str, Explanation]:
        """One row by several families, all of them by default; for :func:`medai_core.tabular.importance.agreement`."""
        x = row if isinstance(row, np.ndarray) else self.read(row)[0]
        output = self._output(x, self.best, None)
        return {name: self.explainer(name).explain(x[:1], output) for name in families or self.families}

    def estimate(self, rows: int, family: str | None = None, *, probability: bool = False) -> float:
        """Seconds that explaining so many rows will take."""
        return self.explainer(family).estimate(rows, probability=probability)

    def needs_networks(self, family: str | None = None) -> bool:
        """Whether the first answer loads the networks' library, which takes seconds."""
        return (family or self.best) == NETWORK

    # --------------------------------------------------------------------------------------- what is known

    @cached_property
    def _held(self) -> dict[str, NDArray[Any]]:
        return load_arrays(self.bundle, HELD)

    def held(self, family: str | None = None, label: str | None = None) -> tuple[Matrix, NDArray[Any]]:
        """Held-out answers of training rows and what was so: probability of a label and whether, or values.

        Returns
        -------
        answers : Matrix, shape (N,)
        outcomes : NDArray, shape (N,)
            Boolean; the values of a number; of times to an event log hazards and signed times.
        """
        found, outcome = np.asarray(self._held[family or self.best], float), self._held["outcome"]
        if self.task in (VALUE, SURVIVAL):
            return found, outcome
        place = 1 if label is None and self.task == BINARY else self.labels.index(label or self.labels[0])
        if found.ndim == 1:
            return (found, outcome == 1) if place == 1 else (1 - found, outcome == 0)
        return found[:, place], outcome == place

    def weights(self) -> dict[str, float]:
        """Of what families the average is made; empty where there is none."""
        known, found = self.bundle.preprocessing["families"], dict[str, float]()
        for name, weight in zip(*(known.get(BLEND, {}).get(part, []) for part in ("of", "weights")), strict=True):
            family = known[name]["family"]
            found[family] = found.get(family, 0.0) + weight
        return found


def load_risk_model(model_id: str) -> RiskModel:
    """A shipped model, loaded once."""
    return _loaded(registry.bundle(model_id))


@cache
def _loaded(bundle: Bundle) -> RiskModel:
    return RiskModel(bundle)
