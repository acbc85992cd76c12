"""What a reading says: plain, immutable records shared by pages, command line and reports."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import Message
from medai_core.metrics import Interval


@dataclass(frozen=True)
class GateSignal:
    """One measurement of the gate and the limit it is held against.

    ``value`` above ``limit`` means *unlike what the model was made for*.
    """

    name: str
    value: float
    limit: float

    @property
    def exceeded(self) -> bool:
        return self.value > self.limit


@dataclass(frozen=True, eq=False)
class GateReport:
    """Whether a scan may go to a model, and why.

    Attributes
    ----------
    code : str
        ``ok``, or the kind of wrong input: ``synthetic``, ``other_modality``, ``wrong_body_part``, ``photograph``,
        ``document``, ``blank``, ``noise``, ``inverted``, ``rotated``, ``too_small``, ``cropped``,
        ``unlike_training``.
    kind_probabilities : dict[str, float]
        What the gate's network takes the image for.
    original, reconstruction : NDArray[np.float32] or None
        (S, S) in [0, 1]: the autoencoder's input and output; None when the scan was refused before it.
    """

    accepted: bool
    code: str
    reason: Message | None
    signals: tuple[GateSignal, ...] = ()
    kind_probabilities: dict[str, float] = field(default_factory=dict)
    original: NDArray[np.float32] | None = None
    reconstruction: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """A named threshold on the probability of the finding, with what it costs on unseen patients."""

    name: str
    finding: str
    threshold: float
    sensitivity: Interval
    specificity: Interval


@dataclass(frozen=True, eq=False)
class Reading:
    """The answer to one scan.

    Attributes
    ----------
    status : {"read", "refused"}
    code : str
        As in :class:`GateReport`, or ``not_read``: the file holds no image.
    probabilities : dict[str, float]
        Calibrated, sums to 1; empty when refused.
    prediction_set : tuple[str, ...]
        Conformal set; ``refer`` is true when it holds more than one label.
    finding_probability : float or None
        Probability of the finding (pneumonia, tumour): the sum over its labels.
    urgency : float
        0 to 1, for sorting a worklist: the finding's probability, at least 0.5 when a person should look.
    cautions : tuple[Message, ...]
        What the file says of the patient that the training population does not cover, and that a reading is a
        demonstration.
    plane : str or None
        Of a volume: ``axial``, ``coronal`` or ``sagittal``, along which ``frame`` counts.
    prepared : NDArray[np.float32] or None
        (128, 128) in [0, 1], what the network saw.
    seconds : float
        From bytes to answer; for one of many files its share of what its batch took.
    """

    status: str
    code: str
    reason: Message | None
    digest: str
    model: str | None = None
    version: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    label: str | None = None
    prediction_set: tuple[str, ...] = ()
    refer: bool = False
    finding_probability: float | None = None
    above_threshold: bool | None = None
    operating_point: OperatingPoint | None = None
    urgency: float = 0.0
    gate: GateReport | None = None
    trace: tuple[Message, ...] = ()
    cautions: tuple[Message, ...] = ()
    prepared: NDArray[np.float32] | None = None
    frame: int = 0
    frames: int = 1
    plane: str | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        """The fields of one ``scan --json`` line, without the file name."""
        return {
            "status": self.status,
            "reason": str(self.reason) if self.reason else "",
            "model": self.model,
            "probabilities": self.probabilities,
            "label": self.label,
            "prediction_set": list(self.prediction_set),
            "refer": self.refer,
            "cautions": [str(caution) for caution in self.cautions],
        }
