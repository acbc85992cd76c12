"""From calibrated probabilities to an answer: the label, the prediction set, and whether to refer.

One rule serves the reader and every figure, so that what is measured is what is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.calibration import prediction_set

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """How a scan model answers.

    Attributes
    ----------
    labels : tuple[str, ...]
    finding : str
        What some of the labels have in common, such as pneumonia.
    finding_labels : tuple[str, ...]
    threshold : float
        The finding is answered from this probability on.
    conformal_threshold : float
        See :func:`~medai_core.calibration.prediction_set`.
    prevalence : tuple[float, ...]
        Of each label, that the probabilities are calibrated for.
    """

    labels: tuple[str, ...]
    finding: str
    finding_labels: tuple[str, ...]
    threshold: float
    conformal_threshold: float
    prevalence: tuple[float, ...]

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Rule:
        """The rule in a bundle's ``preprocessing.json``."""
        return cls(
            tuple(stored["labels"]),
            stored["positive"]["name"],
            tuple(stored["positive"]["labels"]),
            stored["operating_point"]["threshold"],
            stored["conformal"]["threshold"],
            tuple(stored["prevalence"][label] for label in stored["labels"]),
        )

    @property
    def columns(self) -> list[int]:
        """Numbers of the finding's labels."""
        return [self.labels.index(label) for label in self.finding_labels]

    def finding_probability(self, probabilities: Probabilities) -> Probabilities:
        """Sum over the finding's labels: (N, K) → (N,)."""
        return probabilities[:, self.columns].sum(1)

    def answer(self, probabilities: Probabilities) -> NDArray[np.int64]:
        """Number of the answered label: the likeliest on the side of the threshold where the finding is; (N,)."""
        above = self.finding_probability(probabilities) >= self.threshold
        mine = np.isin(np.arange(len(self.labels)), self.columns)
        return np.where(mine == above[:, None], probabilities, -1.0).argmax(1)

    def sets(self, probabilities: Probabilities) -> list[tuple[int, ...]]:
        """Prediction set of each row, likeliest first.

        The answered label is always in it: where the finding's probability is spread over its labels, another
        label can be likelier than each of them, and then a reader has to decide.
        """
        answers = self.answer(probabilities)
        sets = [prediction_set(row, self.conformal_threshold) for row in probabilities]
        return [
            found if answer in found else (*found, int(answer)) for answer, found in zip(answers, sets, strict=True)
        ]
