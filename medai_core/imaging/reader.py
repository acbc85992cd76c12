"""From bytes to a reading: the public face of the imaging wing.

reader = load_reader()
reading = reader.read(Path("image.dcm").read_bytes())
reading.probabilities, reading.prediction_set, reading.refer
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_arrays, load_model
from medai_core.calibration import VectorScaling
from medai_core.errors import InputError, MedAIError, Message, say
from medai_core.imaging import gate
from medai_core.imaging.explain import Explainer, Explanation
from medai_core.imaging.intake import Order, Taken, gated, take
from medai_core.imaging.prepare import SIZE
from medai_core.imaging.reading import OperatingPoint, Reading
from medai_core.imaging.rule import Rule
from medai_core.imaging.scan import Scan
from medai_core.metrics import Interval
from medai_core.runtime import Compiled

if TYPE_CHECKING:
    import keras

BATCH, BATCH_BYTES = 16, 64_000_000
ADULT_YEARS = 18
AGES_YEARS = (1, 6)
"""The chest model was made for children aged 1 to 5: from the first birthday to the day before the sixth."""
_PER_YEAR = {"Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}


@dataclass(frozen=True, eq=False)
class ScanModel:
    """A scan network with what turns its logits into an answer."""

    bundle: Bundle
    network: keras.Model
    run: Compiled
    scaling: VectorScaling
    rule: Rule
    operating_point: OperatingPoint
    explainer: Explainer

    @classmethod
    def load(cls, model: str) -> ScanModel:
        bundle = registry.bundle(model)
        stored = bundle.preprocessing
        rule, point = Rule.from_dict(stored), stored["operating_point"]
        network, scaling = load_model(bundle), VectorScaling.from_dict(stored["calibration"])
        run = Compiled(network, (SIZE, SIZE, 1))
        return cls(
            bundle,
            network,
            run,
            scaling,
            rule,
            OperatingPoint(
                point["name"],
                rule.finding,
                rule.threshold,
                Interval(**point["sensitivity"]),
                Interval(**point["specificity"]),
            ),
            Explainer(network, run, scaling, lambda: _background(bundle)),
        )

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, K) of prepared images (N, 128, 128, 1)."""
        return self.scaling(self.run(images))

    def answer(self, probabilities: NDArray[np.float64]) -> dict[str, object]:
        """Return the answer fields of a :class:`Reading` for one image's probabilities (K,)."""
        rule, row = self.rule, probabilities[None]  # (1, K)
        finding = float(rule.finding_probability(row)[0])
        labels = tuple(rule.labels[k] for k in rule.sets(row)[0])
        refer = len(labels) > 1
        return {
            "model": self.bundle.id,
            "version": self.bundle.version,
            "probabilities": dict(zip(rule.labels, probabilities.tolist(), strict=True)),
            "label": rule.labels[int(rule.answer(row)[0])],
            "prediction_set": labels,
            "refer": refer,
            "finding_probability": finding,
            "above_threshold": finding >= rule.threshold,
            "operating_point": self.operating_point,
            "urgency": max(finding, 0.5) if refer else finding,
        }


def _background(bundle: Bundle) -> NDArray[np.float32]:
    """Return SHAP's background images (N, 128, 128, 1) in [0, 1]."""
    return load_arrays(bundle, "background")["images"][..., None].astype(np.float32) / 255.0


def _cautions(scan: Scan, model: str) -> tuple[Message, ...]:
    """What the file says of the patient that the training population does not cover; never the age itself."""
    age = next((tag.value for tag in scan.tags if tag.keyword == "PatientAge"), "")
    stated = re.fullmatch(r"(\d{1,3})([YMWD])", age.strip().upper(), re.ASCII)
    if model != "chest_xray" or not stated:
        return ()
    years = int(stated[1]) / _PER_YEAR[stated[2]]
    if AGES_YEARS[0] <= years < AGES_YEARS[1]:
        return ()
    if years >= ADULT_YEARS:
        return (say("The file says the patient is an adult; the model was made for children aged 1 to 5."),)
    return (say("The file says the patient is outside the ages of 1 to 5 years that the model was made for."),)


@dataclass(eq=False)
class _Batch:
    """Some files on their way through the decoders, together then through the networks."""

    names: list[str] = field(default_factory=list)
    futures: list[Future[Taken]] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, future: Future[Taken], size: int) -> None:
        self.names.append(name)
        self.futures.append(future)
        self.size += size

    @property
    def full(self) -> bool:
        return len(self.names) >= BATCH or self.size >= BATCH_BYTES

    @property
    def decoded(self) -> bool:
        return all(future.done() for future in self.futures)


class ScanReader:
    """Reads chest radiographs and brain MRI slices.

    Building one verifies all bundles and loads the gate; a scan network is loaded when it is first needed, or by
    :meth:`prepare`. Safe to share between threads.
    """

    def __init__(self) -> None:
        import medai_core.imaging.network  # noqa: F401  registers the layers the bundles name

        gate_bundle = registry.bundle("scan_gate")
        for model in gate.MODELS:  # a bundle that is not the pinned one is found now, not at the first scan
            registry.bundle(model)
        self._gate = Compiled(load_model(gate_bundle), (SIZE, SIZE, 1))
        self._limits = gate.Limits.from_bundle(gate_bundle)
        self._models: dict[str, ScanModel] = {}
        self._loading = {model: threading.Lock() for model in gate.MODELS}

    def model(self, model: str) -> ScanModel:
        """Return one model, loaded and warmed on first use (a second or two)."""
        with self._loading[_checked(model, (*gate.MODELS,))]:
            if model not in self._models:
                self._models[model] = ScanModel.load(model)
            return self._models[model]

    def prepare(self, explanations: bool = False) -> None:
        """Load every network now; with ``explanations`` also what the first Grad-CAM would wait for."""
        models = [self.model(model) for model in gate.MODELS]
        if explanations:
            for model in models:
                model.explainer.prepare()

    def refused(self, images: NDArray[np.float32], model: str) -> NDArray[np.bool_]:
        """Return whether the gate would refuse each prepared image (N, 128, 128, 1) to this model."""
        outputs = self._gate(images)
        rows = ({name: output[k : k + 1] for name, output in outputs.items()} for k in range(len(images)))
        return np.array([not gate.judge(row, self._limits, model)[1].accepted for row in rows])

    def read(
        self,
        data: bytes,
        *,
        model: str = "auto",
        frame: int | None = None,
        plane: str | None = None,
        demonstration: bool = False,
    ) -> Reading:
        """Read one file.

        Parameters
        ----------
        data : bytes
            A scan in any format of :func:`~medai_core.imaging.read.read_scan`.
        model : {"auto", "chest_xray", "brain_mri"}
        frame : int, optional
            Frame or slice, from 0; when None the first frame, of a volume or an MR stack the middle.
        plane : {"axial", "coronal", "sagittal"}, optional
            For volumes.
        demonstration : bool
            Read an image that is marked as synthetic too; the reading's cautions then say that it shows no patient.

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
        order = Order(_asked(model), frame, plane, demonstration)
        reading = self._answer([take(data, order)], order.model)[0]
        return replace(reading, seconds=time.perf_counter() - started)

    def read_many(
        self, items: Iterable[tuple[str, bytes]], *, model: str = "auto", demonstration: bool = False
    ) -> Iterator[tuple[str, Reading | MedAIError]]:
        """Read many files: decoded side by side, sent through the networks in batches, in input order.

        A file that cannot be read yields its error; the others go on. At most two full batches (of 16 files or
        64 MB) wait at once, and the older one is answered as soon as it is decoded. Closing the generator stops
        the work.
        """
        order = Order(_asked(model), demonstration=demonstration)
        pool = ThreadPoolExecutor(max_workers=2)
        try:
            waiting: deque[_Batch] = deque()
            for name, data in items:
                if not waiting or waiting[-1].full:
                    waiting.append(_Batch())
                waiting[-1].add(name, pool.submit(take, data, order), len(data))
                while waiting and waiting[0].full and (waiting[0].decoded or len(waiting) > 2):
                    yield from self._finish(waiting.popleft(), order.model)
            while waiting:
                yield from self._finish(waiting.popleft(), order.model)
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
        model = self.model(reading.model)
        rule = model.rule
        label = _checked(label or reading.label, (*rule.labels, rule.finding), "label")
        targets = rule.finding_labels if label == rule.finding else (label,)
        explain = {"grad_cam": model.explainer.grad_cam, "shap": model.explainer.shap}
        chosen = explain[_checked(method, tuple(explain), "method")]
        return chosen(reading.prepared, [rule.labels.index(target) for target in targets], label)

    def _finish(self, batch: _Batch, asked: str | None) -> Iterator[tuple[str, Reading | MedAIError]]:
        started = time.perf_counter()
        errors = [future.exception() for future in batch.futures]
        for error in errors:
            if error is not None and not isinstance(error, MedAIError):
                raise error
        taken = [future.result() for future, error in zip(batch.futures, errors, strict=True) if error is None]
        readings = iter(self._answer(taken, asked))
        share = (time.perf_counter() - started) / max(len(taken), 1)
        for name, error in zip(batch.names, errors, strict=True):
            yield name, error if error is not None else replace(next(readings), seconds=share)

    def _answer(self, taken: Sequence[Taken], asked: str | None) -> list[Reading]:
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
            cautions = item.cautions + (_cautions(item.scan, model) if report.accepted else ())
            readings[k] = replace(gated(item.scan, report, item.trace, cautions), prepared=item.image[..., 0])
            if report.accepted:
                chosen.setdefault(model, []).append(row)
        for model, rows in chosen.items():
            chosen_model = self.model(model)
            probabilities = chosen_model.predict(images[rows])
            for row, one in zip(rows, probabilities, strict=True):
                k = ready[row]
                readings[k] = replace(readings[k], **chosen_model.answer(one))
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


_building = threading.Lock()


def load_reader(whole: bool = True) -> ScanReader:
    """Return the one reader of this process, built on first use.

    Parameters
    ----------
    whole : bool
        Load the scan networks too, so that no reading waits for one; else each is loaded when first needed.
    """
    with _building:  # two visitors may come first at once
        reader = _reader()
    if whole:
        reader.prepare()
    return reader


@cache
def _reader() -> ScanReader:
    return ScanReader()
