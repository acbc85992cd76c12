"""From bytes to a reading: the public face of the imaging wing.

    reader = load_reader()
    reading = reader.read(Path("image.dcm").read_bytes())
    reading.probabilities, reading.prediction_set, reading.refer
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_arrays, load_model
from medai_core.calibration import VectorScaling, prediction_set
from medai_core.errors import InputError, MedAIError, Message, RefusedInput, say
from medai_core.imaging import gate
from medai_core.imaging.explain import Explainer, Explanation
from medai_core.imaging.prepare import SIZE, prepare
from medai_core.imaging.read import read_scan
from medai_core.imaging.reading import GateReport, OperatingPoint, Reading
from medai_core.imaging.scan import Scan
from medai_core.metrics import Interval
from medai_core.runtime import Compiled

if TYPE_CHECKING:
    import keras

DECODE_AT_LEAST = 448
BATCH = 16
ADULT_YEARS = 18


@dataclass(frozen=True, eq=False)
class ScanModel:
    """A scan network with what turns its logits into an answer."""

    bundle: Bundle
    network: keras.Model
    run: Compiled
    scaling: VectorScaling
    labels: tuple[str, ...]
    finding_labels: tuple[str, ...]
    operating_point: OperatingPoint
    conformal_threshold: float
    explainer: Explainer

    @classmethod
    def load(cls, model: str) -> ScanModel:
        bundle = registry.bundle(model)
        stored = bundle.preprocessing
        point = stored["operating_point"]
        network, scaling = load_model(bundle), VectorScaling.from_dict(stored["calibration"])
        run = Compiled(network, (SIZE, SIZE, 1))
        return cls(
            bundle,
            network,
            run,
            scaling,
            tuple(stored["labels"]),
            tuple(stored["positive"]["labels"]),
            OperatingPoint(
                point["name"],
                stored["positive"]["name"],
                point["threshold"],
                Interval(**point["sensitivity"]),
                Interval(**point["specificity"]),
            ),
            stored["conformal"]["threshold"],
            Explainer(network, run, scaling, lambda: _background(bundle)),
        )

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, K) of prepared images (N, 128, 128, 1)."""
        return self.scaling(self.run(images))

    def answer(self, probabilities: NDArray[np.float64]) -> dict[str, object]:
        """Return the answer fields of a :class:`Reading` for one image's probabilities (K,)."""
        by_label = dict(zip(self.labels, probabilities.tolist(), strict=True))
        finding = sum(by_label[label] for label in self.finding_labels)
        above = finding >= self.operating_point.threshold
        candidates = [label for label in self.labels if (label in self.finding_labels) == above]
        labels = tuple(self.labels[k] for k in prediction_set(probabilities, self.conformal_threshold))
        refer = len(labels) > 1
        return {
            "model": self.bundle.id,
            "version": self.bundle.version,
            "probabilities": by_label,
            "label": max(candidates, key=by_label.__getitem__),
            "prediction_set": labels,
            "refer": refer,
            "finding_probability": finding,
            "above_threshold": above,
            "operating_point": self.operating_point,
            "urgency": max(finding, 0.5) if refer else finding,
        }


def _background(bundle: Bundle) -> NDArray[np.float32]:
    """Return SHAP's background images (N, 128, 128, 1) in [0, 1]."""
    return load_arrays(bundle, "background")["images"][..., None].astype(np.float32) / 255.0


@dataclass(frozen=True, eq=False)
class _Taken:
    """A file after intake: ready for the networks, or with its answer already."""

    scan: Scan | None
    image: NDArray[np.float32] | None
    trace: tuple[Message, ...]
    early: Reading | None = None


def _cautions(scan: Scan, model: str) -> tuple[Message, ...]:
    """What the file says of the patient that the training population does not cover."""
    age = next((tag.value for tag in scan.tags if tag.keyword == "PatientAge"), "")
    if model == "chest_xray" and age[:3].isdigit() and age.endswith("Y") and int(age[:3]) >= ADULT_YEARS:
        years = int(age[:3])
        return (
            say(
                "The file says the patient is {age} years old; the model was made for children aged 1 to 5.", age=years
            ),
        )
    return ()


def _without_pixels(scan: Scan) -> Scan:
    """What is left to ask of a scan once it is prepared: dozens of a batch wait at once, each of many megabytes."""
    nothing = np.zeros((0, 0), np.uint8)
    return replace(scan, stored=nothing, display=nothing, colour=None)


def _gated(scan: Scan, report: GateReport, trace: tuple[Message, ...]) -> Reading:
    """Return a reading that says what the gate said; the model's answer is still missing."""
    return Reading(
        "read" if report.accepted else "refused",
        report.code,
        report.reason,
        scan.digest,
        gate=report,
        trace=trace,
        frame=scan.frame,
        frames=scan.frames,
    )


class ScanReader:
    """Reads chest radiographs and brain MRI slices.

    Building one loads and warms three networks (seconds); it is safe to share between threads.
    """

    def __init__(self) -> None:
        import medai_core.imaging.network  # noqa: F401  registers the layers the bundles name

        gate_bundle = registry.bundle("scan_gate")
        self._gate = Compiled(load_model(gate_bundle), (SIZE, SIZE, 1))
        self._limits = gate.Limits.from_bundle(gate_bundle)
        self._models = {model: ScanModel.load(model) for model in gate.MODELS}

    def model(self, model: str) -> ScanModel:
        """Return one loaded model, for explanations."""
        return self._models[_checked(model, (*gate.MODELS,))]

    def refused(self, images: NDArray[np.float32], model: str) -> NDArray[np.bool_]:
        """Return whether the gate would refuse each prepared image (N, 128, 128, 1) to this model."""
        outputs = self._gate(images)
        rows = ({name: output[k : k + 1] for name, output in outputs.items()} for k in range(len(images)))
        return np.array([not gate.judge(row, self._limits, model)[1].accepted for row in rows])

    def read(self, data: bytes, *, model: str = "auto", frame: int | None = None, plane: str | None = None) -> Reading:
        """Read one file.

        Parameters
        ----------
        data : bytes
            A scan in any format of :func:`~medai_core.imaging.read.read_scan`.
        model : {"auto", "chest_xray", "brain_mri"}
        frame : int, optional
            Frame or slice, from 0; the first frame or the middle slice when None.
        plane : {"axial", "coronal", "sagittal"}, optional
            For volumes.

        Returns
        -------
        Reading
            With ``status`` ``read`` or ``refused``.

        Raises
        ------
        InputError
            The bytes cannot be read, or an argument is not among its values.
        """
        started = time.perf_counter()
        reading = self._answer([self._take(data, _asked(model), frame, plane)], _asked(model))[0]
        return replace(reading, seconds=time.perf_counter() - started)

    def read_many(
        self, items: Iterable[tuple[str, bytes]], *, model: str = "auto"
    ) -> Iterator[tuple[str, Reading | MedAIError]]:
        """Read many files: decoded side by side, sent through the networks in batches, in input order.

        A file that cannot be read yields its error; the others go on. Closing the generator stops the work.
        """
        asked = _asked(model)
        pool = ThreadPoolExecutor(max_workers=2)
        try:
            waiting: list[tuple[list[str], list[Future[_Taken]]]] = []
            for chunk in _chunks(items, BATCH):
                futures = [pool.submit(self._take, data, asked, None, None) for _, data in chunk]
                waiting.append(([name for name, _ in chunk], futures))
                if len(waiting) > 2:
                    yield from self._finish(*waiting.pop(0), asked)
            for names, futures in waiting:
                yield from self._finish(names, futures, asked)
        finally:  # also when closed early: what waits to be decoded is not
            pool.shutdown(cancel_futures=True)

    def explain(self, reading: Reading, *, method: str = "grad_cam", label: str | None = None) -> Explanation:
        """Explain a reading for one label or for its finding, by default for the label it was given.

        Parameters
        ----------
        method : {"grad_cam", "shap"}
        label : str, optional
            One of the model's labels, or the name of its finding (``pneumonia``, ``tumour``).

        Raises
        ------
        InputError
            The reading was refused, or an argument is not among its values.
        """
        if reading.model is None or reading.prepared is None:
            raise InputError("A refused scan has no reading to explain.")
        model = self._models[reading.model]
        finding = model.operating_point.finding
        label = _checked(label or reading.label, (*model.labels, finding), "label")
        targets = model.finding_labels if label == finding else (label,)
        explain = {"grad_cam": model.explainer.grad_cam, "shap": model.explainer.shap}
        chosen = explain[_checked(method, tuple(explain), "method")]
        return chosen(reading.prepared, [model.labels.index(target) for target in targets], label)

    def _finish(
        self, names: Sequence[str], futures: Sequence[Future[_Taken]], asked: str | None
    ) -> Iterator[tuple[str, Reading | MedAIError]]:
        started = time.perf_counter()
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None and not isinstance(error, MedAIError):
                raise error
        taken = [future.result() for future, error in zip(futures, errors, strict=True) if error is None]
        readings = iter(self._answer(taken, asked))
        share = (time.perf_counter() - started) / max(len(taken), 1)
        for name, error in zip(names, errors, strict=True):
            yield name, error if error is not None else replace(next(readings), seconds=share)

    def _take(self, data: bytes, asked: str | None, frame: int | None, plane: str | None) -> _Taken:
        """Decode, check what needs no network, and prepare."""
        try:
            scan = read_scan(data, frame=frame, plane=plane, at_least=DECODE_AT_LEAST)
        except RefusedInput as refusal:
            early = Reading("refused", "not_read", refusal.message, hashlib.sha256(data).hexdigest())
            return _Taken(None, None, (), early)
        report = gate.check_before(scan, asked)
        if report is None:
            try:
                prepared = prepare(scan.display)
                return _Taken(_without_pixels(scan), prepared.image, scan.trace + prepared.trace)
            except RefusedInput as refusal:
                report = GateReport(False, "too_small", refusal.message)
        return _Taken(None, None, (), _gated(scan, report, scan.trace))

    def _answer(self, taken: Sequence[_Taken], asked: str | None) -> list[Reading]:
        """Send what intake let through to the gate and to the chosen models, each in one batch."""
        readings = [item.early for item in taken]
        ready = [k for k, reading in enumerate(readings) if reading is None]
        if not ready:
            return readings
        images = np.stack([taken[k].image for k in ready])
        outputs = self._gate(images)
        chosen: dict[str, list[int]] = {}
        for row, k in enumerate(ready):
            item = taken[k]
            wanted = asked or gate.model_from_tags(item.scan)
            one = {name: output[row : row + 1] for name, output in outputs.items()}
            model, report = gate.judge(one, self._limits, wanted)
            readings[k] = replace(_gated(item.scan, report, item.trace), prepared=item.image[..., 0])
            if report.accepted:
                readings[k] = replace(readings[k], cautions=_cautions(item.scan, model))
                chosen.setdefault(model, []).append(row)
        for model, rows in chosen.items():
            probabilities = self._models[model].predict(images[rows])
            for row, one in zip(rows, probabilities, strict=True):
                k = ready[row]
                readings[k] = replace(readings[k], **self._models[model].answer(one))
        return readings


def _checked(value: str, allowed: Sequence[str], name: str = "model") -> str:
    if value not in allowed:
        raise InputError(
            "`{name}` must be one of {allowed}, got {value}", name=name, allowed=", ".join(allowed), value=repr(value)
        )
    return value


def _asked(model: str) -> str | None:
    """Return the model asked for, None for ``auto``."""
    return None if _checked(model, ("auto", *gate.MODELS)) == "auto" else model


def _chunks(items: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


_building = threading.Lock()


def load_reader() -> ScanReader:
    """Return the one reader of this process, built on first use."""
    with _building:  # two visitors may come first at once
        return _reader()


@cache
def _reader() -> ScanReader:
    return ScanReader()
