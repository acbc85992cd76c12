"""How fast this machine reads: every figure of the speed promise, measured in one run.

python -m medai_core bench
"""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import MedAIError
from medai_core.settings import settings

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecaster
    from medai_core.imaging.explain import Explainer
    from medai_core.imaging.reader import ScanReader

WIDTH, HEIGHT = 1500, 1200
MODELS = ("chest_xray", "brain_mri")
ROOT = Path(__file__).resolve().parents[1]
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FIRST_READING = """
import sys
from medai_core.imaging.reader import load_reader
reading = load_reader().read(sys.stdin.buffer.read(), model="chest_xray", demonstration=True)
print(reading.status, flush=True)
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Counts:
    """How often each thing is measured."""

    readings: int = 60
    networks: int = 100
    cams: int = 30
    shaps: int = 8
    files: int = 200
    batches: int = 3
    starts: int = 3
    stays: int = 60
    cohort: int = 4000
    rows: int = 200
    tables: int = 3
    images: int = 20
    cases: int = 10_000
    pages: int = 30
    arrivals: int = 200


def bench(note: Callable[[str], None], counts: Counts | None = None) -> Iterator[Row]:
    """Measure, and yield a row ``{"what", "median_ms", "p95_ms", "n", "device"}`` for each thing as it is done.

    Parameters
    ----------
    note : callable
        Is told what the figures cannot say.
    """
    from medai_core.bench_cases import workspace_rows
    from medai_core.imaging.reader import load_reader
    from medai_core.runtime import device_name

    counts, reader = counts or Counts(), load_reader()
    data, accepted = sample(reader)
    if not accepted:
        note("The drawn radiograph is refused by the gate; the scan network is run on it all the same.")
    wings = (_all(reader, data, counts, note), _stays(counts), _tables(counts), _images(counts))
    for what, times in chain(*wings, workspace_rows(counts)):
        yield summary(what, times, device_name())


def summary(what: str, times_ms: list[float], device: str) -> Row:
    """The row of one thing measured, from its times in ms."""
    median, p95 = np.percentile(times_ms, [50, 95])
    times = {"median_ms": round(float(median), 3), "p95_ms": round(float(p95), 3), "n": len(times_ms)}
    return {"what": what, **times, "device": device}


def timed(run: Callable[[], object], n: int, warm: int = 3) -> list[float]:
    """Times in ms of `n` runs, after `warm` runs that do not count."""
    for _ in range(warm):
        run()
    times = []
    for _ in range(n):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _all(
    reader: ScanReader, data: bytes, counts: Counts, note: Callable[[str], None]
) -> Iterator[tuple[str, list[float]]]:
    yield from _readings(reader, data, counts)
    yield from _networks(reader, data, counts)
    for model in MODELS:
        yield from _explanations(reader.model(model).explainer, _prepared(data), model, counts)
    yield from _starts(data, counts, note)


def _readings(reader: ScanReader, data: bytes, counts: Counts) -> Iterator[tuple[str, list[float]]]:
    size = f"{WIDTH} × {HEIGHT} JPEG"
    yield f"{size} → calibrated reading", timed(lambda: _read(reader, data), counts.readings)
    yield f"{size} → prepared image (intake alone)", timed(lambda: _prepared(data), counts.readings)
    items = [(str(k), data) for k in range(counts.files)]

    def read_all() -> None:
        for _, reading in reader.read_many(items, model="chest_xray", demonstration=True):
            _finish(reader, reading)

    times = [whole / counts.files for whole in timed(read_all, counts.batches, warm=1)]
    yield f"{counts.files} files of {size}, each", times


def _read(reader: ScanReader, data: bytes) -> None:
    _finish(reader, reader.read(data, model="chest_xray", demonstration=True))  # a shipped sample is marked


def _finish(reader: ScanReader, reading: Any) -> None:
    """Run the scan network where the gate's refusal of a drawn image has spared it."""
    if isinstance(reading, MedAIError):
        raise reading
    if reading.status != "read" and reading.prepared is not None:
        model = reader.model("chest_xray")
        model.answer(model.predict(reading.prepared[None, ..., None])[0])


def _prepared(data: bytes) -> NDArray[np.float32]:
    from medai_core.imaging.intake import DECODE_AT_LEAST
    from medai_core.imaging.prepare import prepare
    from medai_core.imaging.read import read_scan

    return prepare(read_scan(data, at_least=DECODE_AT_LEAST).display).image


def _networks(reader: ScanReader, data: bytes, counts: Counts) -> Iterator[tuple[str, list[float]]]:
    image = _prepared(data)[None]
    yield "gate, one image", timed(lambda: reader.refused(image, "chest_xray"), counts.networks)
    for model in MODELS:
        loaded = reader.model(model)
        yield f"{model} network, one image", timed(lambda one=loaded: one.predict(image), counts.networks)


def _explanations(
    explainer: Explainer, image: NDArray[np.float32], model: str, counts: Counts
) -> Iterator[tuple[str, list[float]]]:
    methods = (("Grad-CAM", explainer.grad_cam, counts.cams), ("SHAP", explainer.shap, counts.shaps))
    for name, explain, n in methods:
        for check, told in ((False, ""), (True, " with its faithfulness check")):
            times = timed(lambda e=explain, c=check: e(image[..., 0], 1, "", check=c), n, warm=2)
            yield f"{name}, {model}{told}", times


# --------------------------------------------------------------------------------------------------- stays


def _stays(counts: Counts) -> Iterator[tuple[str, list[float]]]:
    from medai_core.icu.forecaster import load_forecaster
    from medai_core.icu.records import read_stay

    forecaster, data = load_forecaster(), drawn_stay()
    yield "stay file → risk at all 48 hours", timed(lambda: forecaster.forecast(read_stay(data)), counts.stays)
    yield from _questions(forecaster, data, counts)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.txt" for k in range(counts.cohort)]
        for k, path in enumerate(paths):
            path.write_bytes(drawn_stay(k % 40))

        def score_all() -> None:
            for _ in forecaster.forecast_many((path.name, path.read_bytes()) for path in paths):
                pass

        yield f"{counts.cohort} stays scored from files, all together", timed(score_all, 1, warm=0)


def _questions(forecaster: Forecaster, data: bytes, counts: Counts) -> Iterator[tuple[str, list[float]]]:
    """What is asked of one stay that is on the screen: why this risk, and what if a value were different."""
    from medai_core import registry
    from medai_core.icu.edits import Edit, apply
    from medai_core.icu.explain import explain_risk
    from medai_core.icu.records import read_stay

    stay = read_stay(data)
    yield "ICU: SHAP of one hour", timed(lambda: explain_risk(forecaster, stay, stay.hours), counts.shaps, warm=1)
    edits = [Edit("shift", "HR", value=10), Edit("add", "Lactate", 2000, 6.0)]
    outlook = None
    if "icu_forecast" in registry.available():
        from medai_core.icu.outlook import load_outlooks

        outlook = load_outlooks().outlook
        forecast = "stay file → forecast of the next 24 hours"
        yield forecast, timed(lambda: outlook(read_stay(data), 36), counts.stays)

    def what_if() -> None:
        changed = apply(stay, edits)
        forecaster.forecast(changed)
        if outlook is not None:
            outlook(changed, 36)

    yield "ICU: what-if answer", timed(what_if, counts.stays)


# -------------------------------------------------------------------------------------------------- tables


def _tables(counts: Counts) -> Iterator[tuple[str, list[float]]]:
    """The table model on the patients it was trained on, who are public."""
    from medai_core import registry

    if "breast_cancer" not in registry.available():
        return
    from medai_core.tabular.breast_cancer import FEATURES, sample_table
    from medai_core.tabular.risk_model import load_risk_model

    model, frame = load_risk_model("breast_cancer"), sample_table().frame[list(FEATURES)]
    row, (x, _) = frame.iloc[0].to_dict(), model.read(frame)
    for family in model.families:
        explainer = model.explainer(family)
        yield f"table row → prediction, {family}", timed(lambda f=family: model.predict(row, f), counts.rows)
        yield f"SHAP of one table row, {family}", timed(lambda e=explainer: e.explain(x[:1]), counts.shaps)
    for family in ("logistic", "svm", "forest", "boosting", "blend"):
        explainer = model.explainer(family)
        yield f"SHAP of {len(x)} table rows, {family}", timed(lambda e=explainer: e.explain(x), counts.tables, warm=1)


# -------------------------------------------------------------------------------------------------- images


def _images(counts: Counts) -> Iterator[tuple[str, list[float]]]:
    """The generators: images with their check for near-copies, and one that a slider asks for."""
    from medai_core import registry
    from medai_core.synthesis.generator import GENERATORS, load_generator

    for name in (name for name in GENERATORS.values() if name in registry.available()):
        generator = load_generator(name)
        label, latent = generator.labels[0], generator.latents(1, 0)
        seeds = itertools.count(1)  # a new one each time: what the selector kept of a seed is remembered
        yield (
            f"{name}: 16 images",
            timed(lambda g=generator, y=label, s=seeds: g.generate(y, 16, next(s)), counts.images),
        )
        yield f"{name}: one image", timed(lambda g=generator, z=latent, y=label: g.render(z, y), counts.images)


def drawn_stay(seed: int = 0, entries: int = 440) -> bytes:
    """A stay of 48 hours in the challenge's layout, drawn in code: nobody's course."""
    rng = np.random.default_rng(seed)
    names = ("HR", "SysABP", "DiasABP", "MAP", "RespRate", "Temp", "Urine", "GCS", "PaO2", "K", "Creatinine", "Lactate")
    usual = (85, 120, 60, 80, 19, 37, 90, 12, 130, 4, 1.2, 2)
    lines = ["Time,Parameter,Value", "00:00,RecordID,1", "00:00,Age,65", "00:00,Gender,0"]
    for minute, k in zip(np.sort(rng.integers(0, 2880, entries)), rng.integers(0, len(names), entries), strict=True):
        lines.append(f"{minute // 60:02d}:{minute % 60:02d},{names[k]},{usual[k] * rng.uniform(0.9, 1.1):.2f}")
    return "\n".join(lines).encode()


# --------------------------------------------------------------------------------------------- cold starts


def _starts(data: bytes, counts: Counts, note: Callable[[str], None]) -> Iterator[tuple[str, list[float]]]:
    def first_reading() -> None:
        # Imports, three networks loaded and warmed, one file read: all of it in a new process.
        subprocess.run([sys.executable, "-c", _FIRST_READING], input=data, cwd=ROOT, capture_output=True, check=True)

    yield "new process → first reading", timed(first_reading, counts.starts, warm=0)
    browser = next(filter(None, map(which, _BROWSERS)), None)
    if browser is None or find_spec("playwright") is None:
        note("Not measured: server start → first page, which needs Chromium and the package playwright.")
        return
    yield "server start → first page visible in Chromium", [_first_page(browser) for _ in range(counts.starts)]


def _first_page(browser: str) -> float:
    """Time in ms from starting the app to its first heading in a browser that is open already."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool, tempfile.TemporaryFile() as log:
        page = tool.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        port = free_port()
        flags = ["--server.headless=true", f"--server.port={port}", "--server.address=localhost"]
        start = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", *flags], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            _open(page, f"http://localhost:{port}")
            return (time.perf_counter() - start) * 1e3
        finally:
            server.terminate()
            server.wait()


def _open(page: Any, address: str, seconds: float = 60) -> None:
    from playwright.sync_api import Error

    until = time.monotonic() + seconds
    while True:
        try:
            page.goto(address)
            break
        except Error:  # nobody listens yet
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    page.locator("[data-testid=stMain] :is(h1, h2)").first.wait_for(timeout=seconds * 1e3)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


# ------------------------------------------------------------------------------------------- what is read


def sample(reader: ScanReader) -> tuple[bytes, bool]:
    """A full-size radiograph as JPEG bytes, and whether the gate lets it through.

    A shipped sample is taken where one is let through at this size, else a radiograph is drawn.
    """
    from medai_core.imaging.read import read_scan

    for path in sorted((settings().assets_dir / "samples").rglob("*")):
        if not path.is_file():
            continue
        try:
            data = jpeg(read_scan(path.read_bytes()).display)
            if reader.read(data, model="chest_xray", demonstration=True).status == "read":
                return data, True
        except MedAIError:  # a sample may be there to show what cannot be read
            continue
    data = jpeg(drawn_radiograph())
    return data, reader.read(data, model="chest_xray", demonstration=True).status == "read"


def jpeg(picture: NDArray[np.uint8], width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Encode a grey picture (H, W), stretched to the given size in pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def drawn_radiograph(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> NDArray[np.uint8]:
    """Something like a frontal chest radiograph (H, W), drawn in code: nobody's picture."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1.25 : 1.25 : width * 1j]

    def blob(cx: float, cy: float, rx: float, ry: float, soft: float = 8.0) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(soft * (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 - 1)))

    body = blob(0, 0.35, 1.05, 1.3, 5)
    lungs = np.maximum(blob(-0.42, 0.02, 0.34, 0.72), blob(0.42, 0.02, 0.32, 0.7))
    heart, spine = blob(0.14, 0.38, 0.34, 0.32, 5), np.exp(-((x / 0.09) ** 2))
    ribs = 0.5 + 0.5 * np.cos(18 * (y + 0.35 * x**2))
    field = 0.06 + 0.62 * body - 0.42 * lungs + 0.22 * heart * body + 0.16 * spine * body + 0.07 * ribs * body
    field += np.random.default_rng(seed).normal(0, 0.012, field.shape)
    return np.round(np.clip(field, 0, 1) * 255).astype(np.uint8)
