"""The report of one reading: JSON to compute with, and one page to print.

Neither holds a DICOM tag. The file is named as the caller named it: a name that identifies a person is the
caller's to replace.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from medai_core import __version__
from medai_core.imaging.explain import Explanation
from medai_core.imaging.reading import GateReport, Reading
from medai_core.imaging.report_pdf import DISCLAIMER, report_pdf

__all__ = ["REPORT_SCHEMA", "report_json", "report_pdf"]

_CARD_KEYS = ("name", "summary", "intended_use", "not_for", "population", "metrics_note", "failure_modes")
_EXPLANATION_KEYS = (
    "method", "label", "score", "base_value", "additivity_gap", "additivity_error", "relative_gap", "deletion_auc",
    "insertion_auc", "random_deletion_auc", "random_insertion_auc", "faithful",
)  # fmt: skip


def report_json(
    reading: Reading,
    file_name: str,
    card: Mapping[str, Any] | None,
    explanation: Explanation | None = None,
    *,
    metrics: Mapping[str, Any] | None = None,
    model_digest: str | None = None,
    created: str | None = None,
) -> bytes:
    """Return all that is known of a reading as UTF-8 JSON that fits :data:`REPORT_SCHEMA`.

    Parameters
    ----------
    reading : Reading
        Read or refused.
    file_name : str
    card, metrics : mapping, optional
        The model's card and metrics as in its bundle; None when no model was chosen.
    explanation : Explanation, optional
        Its figures are reported, not its map.
    model_digest : str, optional
        Digest of the bundle.
    created : str, optional
        Date and time as they shall appear; without it the same reading gives the same bytes.
    """
    document = {
        "schema": "medai-reading-report",
        "schema_version": 1,
        "disclaimer": str(DISCLAIMER),
        "created": created,
        "software": {"medai_core": __version__},
        "file": {
            "name": file_name,
            "sha256": reading.digest,
            "frame": reading.frame,
            "frames": reading.frames,
            "plane": reading.plane,
        },
        "status": reading.status,
        "code": reading.code,
        "reason": str(reading.reason) if reading.reason else "",
        "model": _model(reading, card or {}, model_digest),
        "answer": _answer(reading),
        "operating_point": asdict(reading.operating_point) if reading.operating_point else None,
        "gate": _gate(reading.gate),
        "cautions": [str(caution) for caution in reading.cautions],
        "trace": [str(step) for step in reading.trace],
        "performance": list((metrics or {}).get("figures", ())),
        "explanation": {key: getattr(explanation, key) for key in _EXPLANATION_KEYS} if explanation else None,
        "seconds": reading.seconds,
    }
    text = json.dumps(_plain(document), ensure_ascii=False, allow_nan=False, indent=1)
    # A file name may hold bytes that are no text; backslashreplace makes them escapes JSON understands.
    return (text + "\n").encode("utf-8", "backslashreplace")


def _model(reading: Reading, card: Mapping[str, Any], digest: str | None) -> dict[str, Any] | None:
    if reading.model is None:
        return None
    identity = {"id": reading.model, "version": reading.version, "digest": digest}
    return identity | {key: card[key] for key in _CARD_KEYS if key in card}


def _answer(reading: Reading) -> dict[str, Any] | None:
    if reading.status != "read":
        return None
    return {
        "label": reading.label,
        "probabilities": reading.probabilities,
        "prediction_set": reading.prediction_set,
        "refer": reading.refer,
        "finding": reading.operating_point.finding if reading.operating_point else None,
        "finding_probability": reading.finding_probability,
        "above_threshold": reading.above_threshold,
        "urgency": reading.urgency,
    }


def _gate(gate: GateReport | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {
        "accepted": gate.accepted,
        "code": gate.code,
        "reason": str(gate.reason) if gate.reason else "",
        "kind_probabilities": gate.kind_probabilities,
        "signals": [asdict(signal) | {"exceeded": signal.exceeded} for signal in gate.signals],
    }


def _plain(value: Any) -> Any:
    """Return JSON types; a number that is none (NaN, infinity) becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _of(kind: str, *, null: bool = False) -> dict[str, Any]:
    return {"type": [kind, "null"] if null else kind}


def _object(required: Mapping[str, Any], *, null: bool = False, closed: bool = True, **optional: Any) -> dict[str, Any]:
    return _of("object", null=null) | {
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": not closed,
    }


_TEXTS = {"type": "array", "items": _of("string")}
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_SHARES = {"type": "object", "additionalProperties": _SHARE}
_INTERVAL = _object({"value": _SHARE, "low": _SHARE, "high": _SHARE})
_NUMBER = _of("number", null=True)

REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "MedAI reading report",
    **_object(
        {
            "schema": {"const": "medai-reading-report"},
            "schema_version": {"const": 1},
            "disclaimer": _of("string"),
            "created": _of("string", null=True),
            "software": _object({"medai_core": _of("string")}),
            "file": _object(
                {
                    "name": _of("string"),
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    "frame": {"type": "integer", "minimum": 0},
                    "frames": {"type": "integer", "minimum": 1},
                    "plane": {"enum": ["axial", "coronal", "sagittal", None]},
                }
            ),
            "status": {"enum": ["read", "refused"]},
            "code": _of("string"),
            "reason": _of("string"),
            "model": _object(
                {"id": _of("string"), "version": _of("string", null=True), "digest": _of("string", null=True)},
                null=True,
                closed=False,
            ),
            "answer": _object(
                {
                    "label": _of("string"),
                    "probabilities": _SHARES,
                    "prediction_set": _TEXTS,
                    "refer": _of("boolean"),
                    "finding": _of("string", null=True),
                    "finding_probability": _SHARE,
                    "above_threshold": _of("boolean", null=True),
                    "urgency": _SHARE,
                },
                null=True,
            ),
            "operating_point": _object(
                {
                    "name": _of("string"),
                    "finding": _of("string"),
                    "threshold": _SHARE,
                    "sensitivity": _INTERVAL,
                    "specificity": _INTERVAL,
                },
                null=True,
            ),
            "gate": _object(
                {
                    "accepted": _of("boolean"),
                    "code": _of("string"),
                    "reason": _of("string"),
                    "kind_probabilities": _SHARES,
                    "signals": {
                        "type": "array",
                        "items": _object(
                            {"name": _of("string"), "value": _NUMBER, "limit": _NUMBER, "exceeded": _of("boolean")}
                        ),
                    },
                },
                null=True,
            ),
            "cautions": _TEXTS,
            "trace": _TEXTS,
            "performance": {
                "type": "array",
                "items": _object(
                    {"metric": _of("string"), "value": _NUMBER, "low": _NUMBER, "high": _NUMBER}, closed=False
                ),
            },
            "explanation": _object(
                {
                    "method": {"enum": ["grad_cam", "shap"]},
                    "label": _of("string"),
                    **dict.fromkeys(_EXPLANATION_KEYS[2:-1], _NUMBER),
                    "faithful": _of("boolean", null=True),
                },
                null=True,
            ),
            "seconds": _NUMBER,
        }
    ),
}
