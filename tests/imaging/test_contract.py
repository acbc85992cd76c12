"""One battery over every registered model that is here: what any of them owes its users.

A model enters by its row in the registry; nothing is listed here. All images are made in the test.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from medai_core import artifacts, registry
from medai_core.bench import drawn_radiograph, sample
from medai_core.errors import ArtifactError
from medai_core.imaging.gate import KINDS
from medai_core.imaging.intake import DECODE_AT_LEAST
from medai_core.imaging.prepare import SIZE, prepare
from medai_core.imaging.read import read_scan
from medai_core.imaging.reader import load_reader

IMAGING = [entry.id for entry in registry.MODELS.values() if entry.wing == "imaging"]
SCANNERS = [model for model in IMAGING if registry.MODELS[model].task == "classification"]
every_model = pytest.mark.parametrize("model_id", IMAGING)
every_scanner = pytest.mark.parametrize("model_id", SCANNERS)
RNG = np.random.default_rng(7)


@pytest.fixture
def bundle(model_id):
    try:
        return registry.bundle(model_id)
    except ArtifactError as error:
        if model_id in registry.available() and registry.MODELS[model_id].digest:
            raise
        pytest.skip(f"no trained model: {error}")


@pytest.fixture(scope="session")
def reader():
    absent = [model for model in IMAGING if model not in registry.available() or not registry.MODELS[model].digest]
    if absent:
        pytest.skip(f"not trained and pinned yet: {', '.join(absent)}")
    return load_reader()


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Prepared images (6, 128, 128, 1): drawn radiographs, textures and noise; the contract holds for any."""
    drawn = [prepare(drawn_radiograph(300, 240, seed)).image for seed in range(3)]
    waves = [np.sin(np.add.outer(np.arange(SIZE), k * np.arange(SIZE)) / 9) / 2 + 0.5 for k in (1, 3)]
    return np.stack([*drawn, *(wave[..., None] for wave in waves), RNG.random((SIZE, SIZE, 1))]).astype(np.float32)


def encoded(picture: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(picture, np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------ every bundle


@every_model
def test_bundle_is_small_pinned_and_complete(model_id, bundle):
    assert bundle.size_mb <= artifacts.MAX_BUNDLE_MB
    assert bundle.digest == registry.MODELS[model_id].digest
    assert bundle.card["task"] == registry.MODELS[model_id].task
    owed = {
        "name", "version", "summary", "intended_use", "not_for", "population", "training_data", "split",
        "failure_modes", "libraries", "seed",
    }  # fmt: skip
    assert owed <= set(bundle.card)
    assert {"name", "source", "licence", "citation"} <= set(bundle.card["training_data"])


@every_model
def test_figures_have_intervals(bundle):
    assert bundle.metrics["figures"] and bundle.metrics["baseline"]
    for row in bundle.metrics["figures"] + bundle.metrics["baseline"]:
        assert {"metric", "value", "low", "high", "n", "split"} <= set(row)
        assert row["low"] <= row["value"] <= row["high"] and row["n"] > 0, row


@every_model
def test_bundle_holds_no_path_of_the_machine_it_was_made_on(bundle):
    words = json.dumps([bundle.card, bundle.preprocessing, bundle.metrics], default=str)
    places = [Path.home(), Path(registry.__file__).parents[1], Path(tempfile.gettempdir())]
    assert not [place for place in places if f"{place}/" in words]
    assert not re.search(r"(/home/|/Users/|\\Users\\)", words)


@every_model
def test_saved_again_it_answers_the_same(bundle, images, tmp_path):
    import keras

    import medai_core.imaging.network  # noqa: F401  registers its layers

    network = artifacts.load_model(bundle)
    network.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras", compile=False, safe_mode=True)
    before, after = (keras.tree.flatten(one(images, training=False)) for one in (network, again))
    for mine, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


@every_model
def test_a_changed_bundle_is_not_loaded(bundle, tmp_path):
    import shutil

    copy = shutil.copytree(bundle.path, tmp_path / bundle.id)
    weights = copy / artifacts.MODEL
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="must have SHA-256"):
        artifacts.read_bundle(copy, bundle.digest)


# ----------------------------------------------------------------------------------------- scan networks


@every_scanner
def test_preprocessing_is_whole(bundle):
    stored = bundle.preprocessing
    labels = stored["labels"]
    assert stored["size"] == SIZE
    assert labels == list(bundle.card["labels"]) and len(set(labels)) == len(labels) > 1
    assert set(stored["positive"]["labels"]) < set(labels)
    assert len(stored["calibration"]["scale"]) == len(stored["calibration"]["bias"]) == len(labels)
    assert stored["conformal"]["coverage"] == 0.9 and 0 < stored["conformal"]["threshold"] <= 1
    point = stored["operating_point"]
    assert 0 < point["threshold"] < 1
    for side in ("sensitivity", "specificity"):
        assert 0 <= point[side]["low"] <= point[side]["value"] <= point[side]["high"] <= 1


@every_scanner
def test_probabilities(model_id, reader, images):
    model = reader.model(model_id)
    probabilities = model.predict(images)
    assert probabilities.shape == (len(images), len(model.rule.labels))
    assert np.isfinite(probabilities).all() and (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


@every_scanner
def test_batch_equals_single(model_id, reader, images):
    predict = reader.model(model_id).predict
    single = np.concatenate([predict(image[None]) for image in images])
    np.testing.assert_allclose(predict(images), single, atol=1e-5)
    np.testing.assert_allclose(predict(images[::-1]), single[::-1], atol=1e-5)


@every_scanner
def test_the_answer_follows_from_the_probabilities(model_id, reader, images):
    model = reader.model(model_id)
    for one in model.predict(images):
        answer = model.answer(one)
        assert list(answer["probabilities"]) == list(model.rule.labels)
        assert {model.rule.labels[int(one.argmax())], answer["label"]} <= set(answer["prediction_set"])
        assert answer["refer"] == (len(answer["prediction_set"]) > 1)
        assert (answer["label"] in model.rule.finding_labels) == answer["above_threshold"]
        finding = sum(answer["probabilities"][label] for label in model.rule.finding_labels)
        assert answer["finding_probability"] == pytest.approx(finding)


@every_scanner
@pytest.mark.parametrize("size", [(1500, 1200), (2048, 1500), (900, 1100)])
def test_a_large_image_and_its_stretched_copy_agree(model_id, reader, size):
    large = Image.fromarray(drawn_radiograph(*size, seed=size[0]))
    small = large.resize((224, 224), Image.Resampling.LANCZOS)
    files = [encoded(large, "JPEG", quality=92), encoded(large), encoded(small, "JPEG", quality=92)]
    prepared = [prepare(read_scan(data, at_least=DECODE_AT_LEAST).display).image for data in files]
    probabilities = reader.model(model_id).predict(np.stack(prepared))
    assert np.ptp(probabilities, axis=0).max() <= 0.05


# ----------------------------------------------------------------------------------- gate and whole reader


def blank() -> np.ndarray:
    return np.full((700, 600), 128)


def noise() -> np.ndarray:
    return RNG.normal(128, 50, (700, 600)).clip(0, 255)


def text_page() -> np.ndarray:
    page = Image.new("L", (850, 1100), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=20)
    for line in range(36):
        draw.text((70, 60 + 28 * line), "The patient was seen in clinic today and feels well. " * 2, fill=0, font=font)
    return np.asarray(page)


def colour_photograph() -> np.ndarray:
    y, x = np.mgrid[0:1:600j, 0:1:800j]
    sky = np.stack([90 + 60 * y, 140 + 40 * y, 235 - 30 * y], -1)
    meadow = np.stack([60 + 40 * x, 150 - 50 * x, 40 + 20 * x], -1) + RNG.normal(0, 18, (600, 800, 3))
    sun = (((x - 0.75) ** 2 + (y - 0.2) ** 2) < 0.006)[..., None]
    return np.where(sun, [250, 230, 120], np.where((y > 0.55)[..., None], meadow, sky)).clip(0, 255)


def checkerboard() -> np.ndarray:
    return 255 * (np.add.outer(np.arange(640) // 40, np.arange(640) // 40) % 2)


def too_small() -> np.ndarray:
    return drawn_radiograph(80, 70)


def mostly_noise_in_dicom_frame() -> np.ndarray:
    framed = np.zeros((800, 800))
    framed[150:650, 150:650] = noise()[:500, :500]
    return framed


WRONG = (blank, noise, text_page, colour_photograph, checkerboard, too_small, mostly_noise_in_dicom_frame)


@pytest.mark.parametrize("draw", WRONG, ids=lambda f: f.__name__)
@pytest.mark.parametrize("model", ["auto", *SCANNERS])
def test_what_no_model_was_made_for_is_refused(reader, draw, model):
    reading = reader.read(encoded(draw()), model=model)
    assert reading.status == "refused", reading.gate.signals
    assert reading.code in {*KINDS, "too_small", "other_modality"} - {*SCANNERS} and reading.reason
    assert (reading.model, reading.label, reading.probabilities, reading.prediction_set) == (None, None, {}, ())


@pytest.fixture(scope="session")
def right_image(reader) -> np.ndarray:
    data, accepted = sample(reader)
    if not accepted:
        pytest.skip("no shipped sample is let through as a chest radiograph, so spoiling one proves nothing")
    return read_scan(data).display


SPOILED = {
    "inverted": lambda image: 255 - image,
    "turned left": lambda image: np.rot90(image),
    "turned right": lambda image: np.rot90(image, 3),
    "upside down": lambda image: image[::-1, ::-1],
    "a corner": lambda image: image[: image.shape[0] // 4, : image.shape[1] // 4],
    "cut and shuffled": lambda image: np.roll(image, (image.shape[0] // 2, image.shape[1] // 2), (0, 1)),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_right_image_spoiled_is_refused(reader, right_image, how):
    # A generated sample is marked, and a mark would be a reason of its own.
    assert reader.read(encoded(right_image), model="chest_xray", demonstration=True).status == "read"
    reading = reader.read(encoded(SPOILED[how](right_image)), model="chest_xray", demonstration=True)
    assert reading.status == "refused", reading.gate.signals


def test_many_files_get_the_answers_of_each_alone(reader):
    files = [(str(k), encoded(drawn_radiograph(400, 300, k), "JPEG")) for k in range(5)]
    files[2] = ("2", b"junk")
    files[3] = ("3", encoded(blank()))
    many = list(reader.read_many(files, model="chest_xray"))
    assert [name for name, _ in many] == ["0", "1", "2", "3", "4"]
    assert isinstance(many[2][1], Exception) and many[3][1].code == "blank"
    for k in (0, 1, 4):
        alone = reader.read(files[k][1], model="chest_xray")
        together = many[k][1]
        assert (alone.status, alone.code, alone.label) == (together.status, together.code, together.label)
        assert list(together.probabilities.values()) == pytest.approx(list(alone.probabilities.values()), abs=1e-5)
