"""What one model said of one thing, in words that fit a scan, a stay and a row alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from medai_core.errors import MedAIError, Message, RefusedInput, say

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecast
    from medai_core.imaging.reading import Reading
    from medai_core.tabular.risk_model import Prediction

DEATH = "death"
"""The finding of an intensive-care stay: death in hospital."""
RISK, PREDICTED = say("Risk of death in hospital"), say("Predicted value")


@dataclass(frozen=True)
class Estimate:
    """A number the model gave beside, or instead of, probabilities of labels.

    Attributes
    ----------
    unit : str
        In UCUM; ``1`` is a share from 0 to 1.
    hour : int or None
        Of a stay: the hour it was looked from.
    """

    name: Message | str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = "1"
    hour: int | None = None


@dataclass(frozen=True)
class Answer:
    """What one model said of one scan, stay or row; it goes to JSON and back without loss.

    Attributes
    ----------
    status : {"read", "refused", "failed"}
    code : str
        As in :class:`~medai_core.imaging.reading.GateReport`; why it was refused.
    digest : str or None
        SHA-256 of the model's bundle.
    prediction_set : tuple[str, ...]
        ``refer`` is true when a person should look in any case.
    finding : str or None
        What several labels count to (pneumonia, tumour), or :data:`DEATH`; its probability is
        ``finding_probability`` and ``threshold`` that of the operating point.
    frame, frames : int
        Which picture of how many was read, counted from 0.
    """

    status: str
    reason: Message | str = ""
    code: str = ""
    model: str | None = None
    version: str | None = None
    digest: str | None = None
    title: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    prediction_set: tuple[str, ...] = ()
    refer: bool = False
    finding: str | None = None
    finding_probability: float | None = None
    threshold: float | None = None
    above_threshold: bool | None = None
    operating_point: str = ""
    urgency: float = 0.0
    estimates: tuple[Estimate, ...] = ()
    cautions: tuple[Message | str, ...] = ()
    frame: int = 0
    frames: int = 1

    @classmethod
    def of_reading(cls, reading: Reading, digest: str | None = None, title: str = "") -> Answer:
        """From a scan's reading; ``digest`` is that of the model's bundle, ``title`` its name for people."""
        point = reading.operating_point
        about_point = {}
        if point is not None:
            about_point = {
                "finding": point.finding, "threshold": point.threshold, "operating_point": point.name,
                "finding_probability": reading.finding_probability, "above_threshold": reading.above_threshold,
            }  # fmt: skip
        return cls(
            status=reading.status, reason=reading.reason or "", code=reading.code, model=reading.model,
            version=reading.version, digest=digest, title=title, probabilities=dict(reading.probabilities),
            label=reading.label, prediction_set=tuple(reading.prediction_set), refer=reading.refer,
            urgency=reading.urgency, cautions=tuple(reading.cautions), frame=reading.frame, frames=reading.frames,
            **about_point,
        )  # fmt: skip

    @classmethod
    def of_forecast(
        cls, forecast: Forecast, model: str, version: str, digest: str | None = None, title: str = ""
    ) -> Answer:
        """From a stay's forecast; the course is kept in the estimates."""
        rows = zip(forecast.hours, forecast.risk, forecast.low, forecast.high, strict=True)
        course = tuple(Estimate(RISK, float(p), float(a), float(b), hour=int(hour)) for hour, p, a, b in rows)
        return cls(
            status="read", model=model, version=version, digest=digest, title=title, finding=DEATH,
            finding_probability=forecast.mortality, urgency=forecast.mortality, estimates=course,
        )  # fmt: skip

    @classmethod
    def of_prediction(
        cls, prediction: Prediction, model: str, version: str, digest: str | None = None, title: str = ""
    ) -> Answer:
        """From the prediction for a table's row."""
        estimates: tuple[Estimate, ...] = ()
        if prediction.value is not None:
            low, high = prediction.interval or (None, None)
            estimates = (Estimate(PREDICTED, prediction.value, low, high, unit=""),)
        return cls(
            status="read", model=model, version=version, digest=digest, title=title,
            probabilities=dict(prediction.probabilities), label=prediction.label,
            prediction_set=tuple(prediction.prediction_set), refer=prediction.refer, estimates=estimates,
            cautions=tuple(prediction.cautions),
        )  # fmt: skip

    @classmethod
    def of_error(cls, error: MedAIError) -> Answer:
        """From an error: a refusal when nothing here was made for the input, else a failure."""
        return cls(status="refused" if isinstance(error, RefusedInput) else "failed", reason=error.message)

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Labels with their probabilities, the likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; sentences keep template and values apart, so that they can still be translated."""
        return {f.name: _stored(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Answer:
        """From :meth:`to_dict`, or from a line of the command line: what is missing keeps its default."""
        known = {"status": "read"} | {f.name: stored[f.name] for f in fields(cls) if stored.get(f.name) is not None}
        known = _from_line(stored) | known
        known["reason"] = _message(known.get("reason", ""))
        known["cautions"] = tuple(_message(caution) for caution in known.get("cautions", ()))
        known["prediction_set"] = tuple(known.get("prediction_set", ()))
        rows = known.get("estimates", ())
        known["estimates"] = tuple(Estimate(**{**row, "name": _message(row["name"])}) for row in rows)
        return cls(**known)


def _stored(value: Any) -> Any:
    if isinstance(value, Message):
        return {"template": value.template, "values": {name: _stored(part) for name, part in value.values.items()}}
    if isinstance(value, Estimate):
        return {f.name: _stored(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _stored(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_stored(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _from_line(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a line of ``icu --json`` or a table's prediction says in other words."""
    if stored.get("risk"):
        course = zip(stored["hours"], stored["risk"], strict=True)
        rows = [{"name": RISK, "value": p, "hour": hour} for hour, p in course]
        last = stored["risk"][-1]
        return {"finding": DEATH, "finding_probability": last, "urgency": last, "estimates": rows}
    if stored.get("value") is not None:
        low, high = stored.get("interval") or (None, None)
        return {"estimates": [{"name": PREDICTED, "value": stored["value"], "low": low, "high": high, "unit": ""}]}
    return {}


def _message(stored: Any) -> Message | str:
    if isinstance(stored, Mapping) and "template" in stored:
        return Message(stored["template"], {name: _message(part) for name, part in stored["values"].items()})
    return stored
