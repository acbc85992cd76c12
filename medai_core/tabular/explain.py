"""SHAP values of every family in one schema.

Linear models, trees, kernels and averages of them are explained exactly, networks by sampled orders of the features;
each explanation says which, how far it is from adding up, and on which scale it is. All families are held against the
same background rows, so that their values can be compared. A contribution shows what moved the model's answer:
association, not cause.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.tabular.encoder import Encoder
from medai_core.tabular.fitting import Blend, Member, probabilities
from medai_core.tabular.models import Kernel, Linear, Trees
from medai_core.tabular.problem import BINARY, CLASSES, SURVIVAL
from medai_core.tabular.shap_kernel import KernelShap
from medai_core.tabular.shap_trees import TreeShap

if TYPE_CHECKING:
    import pandas as pd

Matrix = NDArray[np.float64]

LOG_ODDS, LOGIT, PROBABILITY, UNITS, LOG_HAZARD = "log-odds", "logit", "probability", "value", "log hazard"
LINKS = {
    LOG_ODDS: say("Log-odds of the probability"),
    LOGIT: say("Logit of the class"),
    PROBABILITY: say("Probability"),
    UNITS: say("Units of the target"),
    LOG_HAZARD: say("Logarithm of the hazard of the event"),
}
METHODS = {
    "linear": say("coefficients times distance from the mean (exact)"),
    "trees": say("sums over the leaves of the trees (exact)"),
    "kernel": say("integral over the Gaussian kernel (exact)"),
    "average": say("weighted mean of the exact values of each model (exact)"),
    "subsets": say("all subsets of the features (exact)"),
    "permutation": say("random orders of the features (approximate)"),
}
EVALUATIONS = 1_200
"""Mixes of a row with the background that one sampled explanation of one row asks for."""
EVALUATIONS_OF_MANY = 250
LEAST_PAIRS, MOST_PAIRS = 2, 20
_shap_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Explanation:
    """SHAP values of N rows by one family.

    Attributes
    ----------
    family : str
    output : int
        The class explained; 1, the positive one, of two; 0 of a number.
    link : str
        ``log-odds``, ``logit``, ``probability``, ``value`` or ``log hazard``: the scale of all values here, see
        :data:`LINKS`.
    encoder : Encoder
        Names, units and levels of the features.
    x : Matrix, shape (N, D)
        The rows, encoded.
    values : Matrix, shape (N, D)
        What each feature adds to the base value.
    base_value : float
        Mean of the model's answers to the background rows.
    predictions : Matrix, shape (N,)
        The model's answers on the same scale.
    exact : bool
    method : str
        A key of :data:`METHODS`.
    additivity_error : float
        Largest ``|base_value + sum of values - prediction|``.
    sampling_error : float
        Largest standard error of a value; 0 of exact ones.
    background : int
        Rows the model was held against.
    seconds : float
    """

    family: str
    output: int
    link: str
    encoder: Encoder
    x: Matrix
    values: Matrix
    base_value: float
    predictions: Matrix
    exact: bool
    method: str
    additivity_error: float
    sampling_error: float
    background: int
    seconds: float

    def part(self, rows: NDArray[Any]) -> Explanation:
        """The same of some of the rows."""
        kept = {"x": self.x[rows], "values": self.values[rows], "predictions": self.predictions[rows]}
        return Explanation(**{**vars(self), **kept})

    def waterfall(self, row: int = 0, top: int = 10) -> list[Step]:
        """What leads from the base value to one row's prediction, the largest first, the rest as one step."""
        values, features = self.values[row], self.encoder.features
        order = np.argsort(-np.abs(values), kind="stable")
        shown = order if len(order) <= top + 1 else order[:top]
        steps = [Step(features[k].name, features[k].text(self.x[row, k]), float(values[k]), int(k)) for k in shown]
        rest = order[len(shown) :]
        if len(rest):
            steps.append(Step("", str(len(rest)), float(values[rest].sum()), None))
        return steps

    def sentences(self, row: int = 0, top: int = 5) -> list[Message]:
        """The features that move one row's prediction most, in words."""
        return [_in_words(step) for step in self.waterfall(row, top) if step.feature is not None and step.value]

    def to_frame(self) -> pd.DataFrame:
        """One line per row: prediction, base value, every feature and its SHAP value."""
        import pandas as pd

        columns: dict[str, Any] = {"prediction": self.predictions, "base value": self.base_value, "scale": self.link}
        for k, feature in enumerate(self.encoder.features):
            columns[feature.name] = [feature.text(value) for value in self.x[:, k]]
            columns[f"SHAP {feature.name}"] = self.values[:, k]
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class Step:
    """One step of a waterfall.

    Attributes
    ----------
    name, shown : str
        Feature and its value in the row; of the step of all others an empty name and their number.
    value : float
        SHAP value.
    feature : int or None
        Place of the feature.
    """

    name: str
    shown: str
    value: float
    feature: int | None


def _in_words(step: Step) -> Message:
    if step.value > 0:
        return say("{feature} of {value} raises the prediction", feature=step.name, value=step.shown)
    return say("{feature} of {value} lowers the prediction", feature=step.name, value=step.shown)


# ------------------------------------------------------------------------------------------ raw explainers


class Raw(Protocol):
    """Explains raw scores: ``base_values`` (K,), and values (N, D, K) of rows (N, D)."""

    base_values: Matrix

    def __call__(self, x: Matrix) -> Matrix: ...


class _LinearShap:
    def __init__(self, learner: Linear, background: Matrix) -> None:
        self._learner, self._width = learner, background.shape[1]
        self._mean = learner.design(background).mean(axis=0)
        self.base_values = self._mean @ learner.coef.T + learner.intercept

    def __call__(self, x: Matrix) -> Matrix:
        change = self._learner.design(x) - self._mean  # (N, M)
        found = np.zeros((self._width, len(x), len(self._learner.coef)))
        each = change[:, :, None] * self._learner.coef.T  # (N, M, K)
        np.add.at(found, self._learner.design.owner, each.transpose(1, 0, 2))
        return found.transpose(1, 0, 2)


class _OfDesign:
    """An explainer of design rows, asked with rows of features."""

    def __init__(self, learner: Kernel, background: Matrix) -> None:
        self._design = learner.design
        self._explainer = KernelShap(
            learner.support, learner.dual, learner.intercept, learner.gamma, learner.design.owner,
            learner.design(background), background.shape[1],
        )  # fmt: skip
        self.base_values = self._explainer.base_values

    def __call__(self, x: Matrix) -> Matrix:
        return self._explainer(self._design(x))


class _Mean:
    """Of a weighted mean of members: the weighted mean of their exact values."""

    def __init__(self, learner: Blend, background: Matrix) -> None:
        used = [(w, m) for w, m in zip(learner.weights, learner.members, strict=True) if w > 0]
        self._parts = [(weight * member.scale, _exact(member.learner, background)) for weight, member in used]
        self.base_values = np.sum(
            [weight * (member.scale * raw.base_values + member.bias)
             for (weight, member), (_, raw) in zip(used, self._parts, strict=True)], axis=0,
        )  # fmt: skip

    def __call__(self, x: Matrix) -> Matrix:
        return np.sum([weight * raw(x) for weight, raw in self._parts], axis=0)


def _exact(learner: Any, background: Matrix) -> Any:
    """The exact explainer of a learner's raw scores, None where there is none."""
    if isinstance(learner, Linear):
        return _LinearShap(learner, background)
    if isinstance(learner, Kernel):
        return _OfDesign(learner, background)
    if isinstance(learner, Blend):
        return _Mean(learner, background)
    return TreeShap(learner.table, background) if isinstance(learner, Trees) else None


def method_of(learner: Any) -> str:
    """A key of :data:`METHODS`."""
    kinds = ((Linear, "linear"), (Kernel, "kernel"), (Trees, "trees"), (Blend, "average"))
    return next((name for kind, name in kinds if isinstance(learner, kind)), "permutation")


# ----------------------------------------------------------------------------------------------- explainer


class Explainer:
    """Explains one member against a background; safe to share between threads.

    Parameters
    ----------
    member : Member
    background : Matrix, shape (B, D)
    encoder : Encoder
    task : str
    """

    def __init__(self, member: Member, background: Matrix, encoder: Encoder, task: str) -> None:
        self.member, self.background, self.encoder, self.task = member, background, encoder, task
        self.link = {BINARY: LOG_ODDS, CLASSES: LOGIT, SURVIVAL: LOG_HAZARD}.get(task, UNITS)
        self._raw = _exact(member.learner, background)
        self._costs: dict[tuple[bool, bool], float] = {}

    @property
    def exact(self) -> bool:
        """Whether values on the model's own scale are exact; those of probabilities never are."""
        return self._raw is not None

    def explain(self, x: Matrix, output: int = 1, *, probability: bool = False, seed: int = 0) -> Explanation:
        """Explain rows (N, D).

        Parameters
        ----------
        output : int
            The class, where there are more than two; otherwise passed over.
        probability : bool
            On the scale of the probability instead of the model's own; always approximate.
        seed : int
            Of the random orders, where orders are sampled.
        """
        start = time.perf_counter()
        if probability and self.task not in (BINARY, CLASSES):
            raise InputError("Only classes have a probability to explain, not the task {task}", task=self.task)
        column = output if self.task == CLASSES else 0
        if not 0 <= column < len(self.member.scale):
            raise InputError("`output` must be below {classes}, got {got}", classes=len(self.member.scale), got=output)
        error = 0.0
        if self._raw is not None and not probability:
            scale, bias = self.member.scale[column], self.member.bias[column]
            values = self._raw(x)[..., column] * scale
            base = float(self._raw.base_values[column] * scale + bias)
            method = method_of(self.member.learner)
        else:
            values, base, error = self._sampled(x, column, probability, seed)
            method = "permutation"
        predictions = self._answer(x, column, probability)
        gap = float(np.abs(base + values.sum(axis=1) - predictions).max(initial=0.0))
        told = PROBABILITY if probability else self.link
        return Explanation(
            self.member.family, output if self.task == CLASSES else int(self.task == BINARY), told, self.encoder, x,
            values, base, predictions, method != "permutation", method, gap, error, len(self.background),
            time.perf_counter() - start,
        )  # fmt: skip

    def _answer(self, x: Matrix, column: int, probability: bool) -> Matrix:
        link = self.member.link(x)
        if not probability:
            return link[:, column]
        found = probabilities(link, self.task)
        return found if found.ndim == 1 else found[:, column]

    def _sampled(self, x: Matrix, column: int, probability: bool, seed: int) -> tuple[Matrix, float, float]:
        most = EVALUATIONS if len(x) <= 3 else EVALUATIONS_OF_MANY
        found = [shapley(lambda mixed: self._answer(mixed, column, probability), row, self.background, most, seed)
                 for row in x]  # fmt: skip
        base = float(self._answer(self.background, column, probability).mean())
        values = np.array([one[0] for one in found]).reshape(len(x), x.shape[1])
        return values, base, max((float(one[1].max(initial=0.0)) for one in found), default=0.0)

    def estimate(self, rows: int, *, probability: bool = False) -> float:
        """Seconds that explaining so many rows will take, from a trial of a few background rows."""
        many = rows > 3
        key = (probability, many)
        if key not in self._costs:
            trial = self.background[: 4 if many else 1]
            self.explain(trial[:1], 0 if self.task == CLASSES else 1, probability=probability)  # compiles what there is
            start = time.perf_counter()
            self.explain(trial, 0 if self.task == CLASSES else 1, probability=probability)
            self._costs[key] = (time.perf_counter() - start) / len(trial)
        return rows * self._costs[key]


def shapley(
    answer: Callable[[Matrix], Matrix], row: Matrix, background: Matrix, evaluations: int, seed: int = 0
) -> tuple[Matrix, Matrix]:
    """SHAP values of one row by ``shap.PermutationExplainer``, and their standard errors.

    The library is given the same question several times, a pair of orders each, so that the spread between the pairs
    tells the sampling error.

    Parameters
    ----------
    answer : callable
        From rows (N, D) to answers (N,).
    row : Matrix, shape (D,)
    background : Matrix, shape (B, D)
    evaluations : int
        Mixes to be asked for, each held against the whole background.
    """
    import shap

    width = len(row)
    each = 2 * width + 1
    pairs = min(max(LEAST_PAIRS, evaluations // each), MOST_PAIRS)

    def game(present: NDArray[np.bool_]) -> Matrix:
        mixed = np.where(present[:, None, :], row, background)  # (E, B, D)
        return answer(mixed.reshape(-1, width)).reshape(len(present), -1).mean(axis=1)

    with _shap_lock:  # the library draws from NumPy's global generator, which it reseeds
        state = np.random.get_state()
        try:
            explainer = shap.PermutationExplainer(game, lambda mask, given: (given & mask)[None], seed=seed)
            questions = np.ones((pairs, width), bool)
            found = explainer(questions, max_evals=each, batch_size=each, silent=True)
        finally:
            np.random.set_state(state)
    return found.values.mean(axis=0), found.values.std(axis=0, ddof=1) / np.sqrt(pairs)
