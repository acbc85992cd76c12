"""From bytes to a reading, through networks trained in seconds: what holds for any weights must hold for these."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawn_scans import dicom, draw_brain, draw_chest, encode
from PIL import Image

from medai_core import marks
from medai_core.errors import InputError, MedAIError
from medai_core.imaging import gate as gates
from medai_core.imaging import intake
from medai_core.imaging import reader as readers
from medai_core.imaging.gate import MODELS, Limits
from medai_core.imaging.reader import ScanReader, load_reader
from medai_core.imaging.reading import Reading

CHEST, BRAIN = (encode(draw(0, 900)) for draw in (draw_chest, draw_brain))
BLANK = encode(np.full((300, 300), 90, np.uint8))
SMALL = encode(draw_chest(0, 1, 80), "PNG")
PHOTO = encode(np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8).repeat(30, 0).repeat(30, 1), "PNG")
HAND = dicom(draw_chest(0, 2), Modality="CR", BodyPartExamined="HAND")
BROKEN = CHEST[:300]


def with_limits(reader: ScanReader, **limits: float) -> ScanReader:
    """The same networks behind a gate with other limits."""
    other = object.__new__(ScanReader)
    other.__dict__.update(reader.__dict__)
    held = {model: reader._limits.limits[model] | limits for model in MODELS}
    other._limits = Limits(held, reader._limits.means, reader._limits.precisions)
    return other


@pytest.fixture(scope="module")
def open_reader(reader: ScanReader) -> ScanReader:
    """Lets everything that comes to the networks through."""
    return with_limits(reader, kind=1.0, reconstruction=1e9, distance=1e9)


@pytest.fixture(scope="module")
def shut_reader(reader: ScanReader) -> ScanReader:
    return with_limits(reader, kind=-1.0)


@pytest.fixture(scope="module")
def many() -> list[tuple[str, bytes]]:
    drawn = [encode((draw_chest if k % 3 else draw_brain)(k % 3, 700 + k)) for k in range(37)]
    odd = {3: BROKEN, 9: PHOTO, 20: SMALL, 21: b"", 30: HAND}
    return [(f"file {k}", odd.get(k, data)) for k, data in enumerate(drawn)]


# ------------------------------------------------------------------------------------- what holds for any model


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(4))
def test_the_fields_of_a_reading_agree(open_reader: ScanReader, model: str, seed: int) -> None:
    data = encode((draw_chest if seed % 2 else draw_brain)(seed % 3, seed))
    reading, chosen = open_reader.read(data, model=model), open_reader.model(model)
    assert (reading.status, reading.code, reading.reason, reading.model) == ("read", "ok", None, model)
    assert list(reading.probabilities) == list(chosen.rule.labels)
    assert sum(reading.probabilities.values()) == pytest.approx(1)
    finding = sum(reading.probabilities[label] for label in chosen.rule.finding_labels)
    assert reading.finding_probability == pytest.approx(finding)
    assert reading.above_threshold == (finding >= reading.operating_point.threshold)
    assert (reading.label in chosen.rule.finding_labels) == reading.above_threshold
    side = [label for label in chosen.rule.labels if (label in chosen.rule.finding_labels) == reading.above_threshold]
    assert reading.probabilities[reading.label] == max(reading.probabilities[label] for label in side)
    assert reading.refer == (len(reading.prediction_set) > 1)
    assert {max(reading.probabilities, key=reading.probabilities.get), reading.label} <= set(reading.prediction_set)
    assert 0 <= reading.urgency <= 1 and reading.urgency >= (0.5 if reading.refer else 0)
    assert reading.version == chosen.bundle.version and reading.seconds > 0 and len(reading.digest) == 64
    assert reading.prepared.shape == (128, 128) and reading.gate.accepted
    assert " → ".join(map(str, reading.trace)).endswith("stretched to 224×224, then 128×128")


def test_the_line_of_json(open_reader: ScanReader) -> None:
    line = open_reader.read(CHEST, model="chest_xray").to_json()
    assert list(line) == ["status", "reason", "model", "probabilities", "label", "prediction_set", "refer", "cautions"]
    assert (line["status"], line["reason"], line["model"]) == ("read", "", "chest_xray")


@pytest.mark.parametrize(
    ("probabilities", "threshold", "label", "labels", "refer", "urgency"),
    [
        ((0.9, 0.06, 0.04), 0.5, "normal", ("normal",), False, 0.1),
        ((0.4, 0.35, 0.25), 0.7, "bacterial", ("normal", "bacterial"), True, 0.6),
        ((0.6, 0.3, 0.1), 0.7, "normal", ("normal", "bacterial"), True, 0.5),
        ((0.5, 0.1, 0.4), 0.5, "viral", ("normal", "viral"), True, 0.5),
        ((0.3, 0.36, 0.34), 0.1, "bacterial", ("bacterial", "viral"), True, 0.7),
        ((0.02, 0.5, 0.48), 0.55, "bacterial", ("bacterial", "viral"), True, 0.98),
    ],
)
def test_answers_by_hand(reader, probabilities, threshold, label, labels, refer, urgency) -> None:
    model = reader.model("chest_xray")
    model = dataclasses.replace(model, rule=dataclasses.replace(model.rule, conformal_threshold=threshold))
    answer = model.answer(np.array(probabilities))
    assert (answer["label"], answer["prediction_set"], answer["refer"]) == (label, labels, refer)
    assert answer["urgency"] == pytest.approx(urgency)


# --------------------------------------------------------------------------------------------- choice of model


def test_auto_reads_what_an_explicit_model_reads(open_reader: ScanReader) -> None:
    for data in (CHEST, BRAIN):
        auto = open_reader.read(data)
        explicit = open_reader.read(data, model=auto.model)
        assert auto.probabilities == pytest.approx(explicit.probabilities, abs=1e-6)
        kinds = auto.gate.kind_probabilities
        assert auto.model == max(MODELS, key=kinds.get)


def test_auto_tells_chests_from_brains(open_reader: ScanReader) -> None:
    for draw, model in ((draw_chest, "chest_xray"), (draw_brain, "brain_mri")):
        assert [open_reader.read(encode(draw(0, seed))).model for seed in range(800, 804)] == [model] * 4


@pytest.mark.parametrize(("modality", "model"), [("CR", "chest_xray"), ("DX", "chest_xray"), ("MR", "brain_mri")])
def test_tags_decide_before_pixels(open_reader: ScanReader, modality: str, model: str) -> None:
    for pixels in (draw_chest(0, 5), draw_brain(0, 5)):
        assert open_reader.read(dicom(pixels, Modality=modality)).model == model


def test_an_explicit_model_against_the_tags_is_refused(open_reader: ScanReader) -> None:
    reading = open_reader.read(dicom(draw_brain(0, 5), Modality="MR"), model="chest_xray")
    assert (reading.status, reading.code) == ("refused", "other_modality")


@pytest.mark.parametrize("model", ["scan_gate", "chest", "", "AUTO"])
def test_a_model_must_be_one_of_the_known(reader: ScanReader, model: str) -> None:
    with pytest.raises(InputError, match="`model` must be one of auto, chest_xray, brain_mri, got"):
        reader.read(CHEST, model=model)
    with pytest.raises(InputError, match="`model` must be one of"):
        list(reader.read_many([("a", CHEST)], model=model))
    with pytest.raises(InputError, match="`model` must be one of chest_xray, brain_mri, got"):
        reader.model(model)


# -------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("data", "code"),
    [(PHOTO, "photograph"), (BLANK, "blank"), (SMALL, "too_small"), (HAND, "wrong_body_part")],
)
def test_what_needs_no_network_is_refused(open_reader: ScanReader, data: bytes, code: str) -> None:
    reading = open_reader.read(data)
    assert (reading.status, reading.code, reading.gate.accepted, reading.gate.code) == ("refused", code, False, code)
    assert str(reading.reason) and reading.reason == reading.gate.reason
    assert_refused(reading)


def assert_refused(reading: Reading) -> None:
    assert (reading.model, reading.version, reading.label, reading.prediction_set) == (None, None, None, ())
    assert reading.probabilities == {} and not reading.refer and reading.finding_probability is None
    assert (reading.above_threshold, reading.operating_point, reading.urgency) == (None, None, 0.0)
    assert reading.cautions == () and len(reading.digest) == 64 and reading.to_json()["reason"]


def test_the_gate_s_network_refuses_with_its_evidence(shut_reader: ScanReader) -> None:
    reading = shut_reader.read(CHEST)
    assert_refused(reading)
    assert reading.code in gates.REASONS and reading.gate.signals[0].exceeded
    assert reading.gate.original.shape == reading.gate.reconstruction.shape == (64, 64)
    assert reading.prepared.shape == (128, 128) and reading.trace


def test_a_file_without_an_image_is_refused_not_an_error(reader: ScanReader) -> None:
    from pydicom.uid import BasicTextSRStorage

    reading = reader.read(dicom(None, Modality="SR", SOPClassUID=BasicTextSRStorage))
    assert (reading.status, reading.code, reading.gate) == ("refused", "not_read", None)
    assert_refused(reading)


@pytest.mark.parametrize("data", [b"", b"text", BROKEN])
def test_what_cannot_be_read_raises(reader: ScanReader, data: bytes) -> None:
    with pytest.raises(InputError):
        reader.read(data)


def test_refused_agrees_with_reading(reader: ScanReader, open_reader: ScanReader, shut_reader: ScanReader) -> None:
    readings = [reader.read(encode(draw_chest(k, k)), model="chest_xray") for k in range(3)]
    images = np.stack([reading.prepared for reading in readings])[..., None]
    assert not open_reader.refused(images, "chest_xray").any() and shut_reader.refused(images, "brain_mri").all()


# ------------------------------------------------------------------------------------------ synthetic images


def marked(kind: str) -> bytes:
    """A drawn radiograph with one of the three marks."""
    pixels = np.asarray(Image.fromarray(draw_chest(0, 900)).resize((128, 128)))
    if kind == "metadata":
        return dicom(pixels, SyntheticData="YES")
    return encode({"visible": marks.visible, "watermark": marks.watermark}[kind](pixels))


@pytest.mark.parametrize("kind", ["visible", "metadata", "watermark"])
def test_a_marked_image_is_no_patients(open_reader: ScanReader, kind: str) -> None:
    for model in ("auto", "chest_xray", "brain_mri"):
        reading = open_reader.read(marked(kind), model=model)
        assert (reading.status, reading.code, reading.model, reading.cautions) == ("refused", "synthetic", None, ())
        assert "is marked as synthetic (" in str(reading.reason) and "demonstration" in str(reading.reason)
    exceeded = [signal.name for signal in reading.gate.signals if signal.exceeded]
    assert exceeded == [{"visible": "visible_mark", "metadata": "description"}.get(kind, kind)]


@pytest.mark.parametrize("kind", ["visible", "metadata", "watermark"])
def test_a_demonstration_is_read_and_says_so(open_reader: ScanReader, kind: str) -> None:
    data = marked(kind)
    reading = open_reader.read(data, model="chest_xray", demonstration=True)
    assert (reading.status, reading.model, reading.cautions) == ("read", "chest_xray", (intake.MARKED,))
    ((_, many),) = open_reader.read_many([("a", data)], model="chest_xray", demonstration=True)
    same(many, reading)


def test_a_demonstration_of_a_patients_image_says_that_nothing_marks_it(open_reader: ScanReader) -> None:
    reading = open_reader.read(CHEST, demonstration=True)
    assert (reading.status, reading.cautions) == ("read", (intake.UNMARKED,))
    plain = open_reader.read(CHEST)
    assert plain.cautions == () and plain.probabilities == reading.probabilities


def test_a_demonstration_opens_no_other_gate(reader: ScanReader) -> None:
    reading = reader.read(BLANK, demonstration=True)
    assert (reading.code, reading.cautions) == ("blank", (intake.UNMARKED,))


def test_a_reason_names_every_mark(open_reader: ScanReader) -> None:
    pixels = marks.watermark(marks.visible(np.asarray(Image.fromarray(draw_chest(0, 900)).resize((128, 128)))))
    reading = open_reader.read(dicom(pixels, PatientName="SYNTHETIC"))
    found = "the word SYNTHETIC in the image, the file's own description, an invisible watermark"
    assert f"({found})" in str(reading.reason)


# -------------------------------------------------------------------------------------------------- cautions


ADULT = "The file says the patient is an adult; the model was made for children aged 1 to 5."
OUTSIDE = "The file says the patient is outside the ages of 1 to 5 years that the model was made for."


@pytest.mark.parametrize(
    ("age", "said"),
    [
        ("045Y", ADULT), ("018Y", ADULT), ("216M", ADULT), ("017Y", OUTSIDE), ("006Y", OUTSIDE), ("072M", OUTSIDE),
        ("005Y", None), ("001Y", None), ("030M", None), ("052W", OUTSIDE), ("053W", None), ("011M", OUTSIDE),
        ("003W", OUTSIDE), ("010D", OUTSIDE), ("400D", None), ("Y", None), ("", None),
    ],
)  # fmt: skip
def test_patients_the_chest_model_was_not_made_for(open_reader: ScanReader, age: str, said: str | None) -> None:
    chest = open_reader.read(dicom(draw_chest(0, 1), Modality="DX", PatientAge=age))
    assert chest.to_json()["cautions"] == ([said] if said else [])
    assert not any(character.isdigit() and character not in "15" for character in str(chest.to_json()["cautions"]))
    assert open_reader.read(dicom(draw_brain(0, 1), Modality="MR", PatientAge=age)).cautions == ()


# ------------------------------------------------------------------------------------------------- many files


def same(one: Reading, other: Reading) -> None:
    for field in (
        "status",
        "code",
        "reason",
        "digest",
        "model",
        "label",
        "prediction_set",
        "refer",
        "trace",
        "cautions",
    ):
        assert getattr(one, field) == getattr(other, field), field
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert one.urgency == pytest.approx(other.urgency, abs=1e-5)


@pytest.mark.parametrize("which", ["reader", "open_reader"])
@pytest.mark.parametrize("model", ["auto", "chest_xray"])
def test_a_batch_equals_single_readings_in_order(request, many, which: str, model: str) -> None:
    reader = request.getfixturevalue(which)
    answers = list(reader.read_many(iter(many), model=model))
    assert [name for name, _ in answers] == [name for name, _ in many]
    for (_, data), (_, answer) in zip(many, answers, strict=True):
        if isinstance(answer, MedAIError):
            with pytest.raises(type(answer), match="."):
                reader.read(data, model=model)
        else:
            same(answer, reader.read(data, model=model))


def test_a_broken_file_yields_its_error_and_the_rest_goes_on(open_reader: ScanReader, many) -> None:
    answers = dict(open_reader.read_many(many))
    errors = {name for name, answer in answers.items() if isinstance(answer, InputError)}
    assert errors == {"file 3", "file 21"} and len(answers) == len(many)
    refused = {name: answer.code for name, answer in answers.items() if getattr(answer, "status", "") == "refused"}
    assert refused == {"file 9": "photograph", "file 20": "too_small", "file 30": "wrong_body_part"}


@pytest.mark.parametrize("what", ["prepare", "gate.check_before"])
def test_what_goes_wrong_with_one_file_is_that_file_s_error(open_reader, monkeypatch, what: str) -> None:
    files = [(f"{k}", encode(draw_chest(0, 40 + k))) for k in range(4)]
    module, name = (gates, "check_before") if "." in what else (intake, what)
    real, calls = getattr(module, name), []

    def fails_once(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(module, name, fails_once)
    answers = list(open_reader.read_many(files))
    failed = [answer for _, answer in answers if isinstance(answer, InputError)]
    assert len(answers) == 4 and [str(error) for error in failed] == [
        "Decoding the JPEG file needs more memory than there is."
    ]
    calls.clear()
    with pytest.raises(InputError, match="more memory"):
        [open_reader.read(data) for _, data in files]


@pytest.mark.parametrize(("batch_bytes", "most"), [(64_000_000, 2 * readers.BATCH + 1), (2 * len(CHEST), 5)])
def test_the_first_answer_does_not_wait_for_many_files(open_reader, monkeypatch, batch_bytes: int, most: int) -> None:
    monkeypatch.setattr(readers, "BATCH_BYTES", batch_bytes)
    asked = []

    def slowly():
        for k in range(60):
            asked.append(k)
            if k >= readers.BATCH:
                time.sleep(0.1)
            yield f"{k}", CHEST

    answers = open_reader.read_many(slowly())
    assert next(answers)[0] == "0" and len(asked) <= most
    answers.close()


def test_no_files_no_readings(reader: ScanReader) -> None:
    assert list(reader.read_many([])) == []
    ((name, answer),) = reader.read_many([("only", BROKEN)])
    assert name == "only" and isinstance(answer, InputError)


def test_closing_stops_the_work(open_reader: ScanReader, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, asked, before = [], [], threading.active_count()
    wait, real = threading.Event(), intake.read_scan

    def slow(data: bytes, **options):
        decoded.append(data)
        if len(decoded) > readers.BATCH:
            wait.wait(1)  # the networks answer the first batch long before all that was read ahead is decoded
        return real(data, **options)

    monkeypatch.setattr(intake, "read_scan", slow)

    def endless():
        while True:
            asked.append(1)
            yield f"{len(asked)}", CHEST

    answers = open_reader.read_many(endless())
    assert next(answers)[0] == "1"
    answers.close()
    so_far = len(decoded), len(asked)
    assert so_far[1] <= 3 * readers.BATCH and so_far[0] < so_far[1]  # what waited was dropped
    wait.wait(0.2)
    assert (len(decoded), len(asked)) == so_far and threading.active_count() <= before
    assert list(answers) == []


def test_pixels_are_let_go_once_prepared() -> None:
    taken = intake.take(encode(draw_chest(0, 1, 1200)), intake.Order())
    assert taken.scan.display.size == taken.scan.stored.size == 0 and taken.scan.colour is None
    assert taken.scan.full_shape == (1200, 1200) and taken.image.shape == (128, 128, 1)


def test_threads_share_a_reader(open_reader: ScanReader) -> None:
    files = [encode(draw_chest(k % 3, k)) for k in range(6)]
    alone = [open_reader.read(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(open_reader.read, files), strict=True):
            same(one, other)


# ------------------------------------------------------------------------------------------ size, slices, digest


def test_a_large_image_and_its_stretched_copy_agree(open_reader: ScanReader) -> None:
    from PIL import Image

    large = draw_chest(1, 7, 1500)[:1200]
    copy = np.asarray(Image.fromarray(large).resize((224, 224), Image.Resampling.BILINEAR))
    one, other = (open_reader.read(encode(pixels), model="chest_xray").probabilities for pixels in (large, copy))
    assert one == pytest.approx(other, abs=0.05)


def test_a_slice_of_a_volume_is_read(open_reader: ScanReader, tmp_path) -> None:
    import nibabel

    volume = np.stack([draw_brain(k % 4, 3, 128) for k in range(100)], -1)
    path = tmp_path / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), np.eye(4)), path)
    data = path.read_bytes()
    middle, chosen = open_reader.read(data, model="brain_mri"), open_reader.read(data, model="brain_mri", frame=7)
    assert (middle.frames, chosen.frames, chosen.frame) == (100, 100, 7) and middle.frame != 7
    assert middle.digest == chosen.digest
    assert middle.plane == "axial" and open_reader.read(CHEST).plane is None
    assert open_reader.read(data, model="brain_mri", plane="sagittal").frames == 128
    with pytest.raises(InputError, match="`frame` must be between 0 and 99, got 100"):
        open_reader.read(data, frame=100)


# ------------------------------------------------------------------------------------- explanations, one reader


@pytest.mark.parametrize("method", ["grad_cam", "shap"])
def test_a_reading_can_be_explained(open_reader: ScanReader, method: str) -> None:
    reading = open_reader.read(CHEST, model="chest_xray")
    explained = open_reader.explain(reading, method=method)
    assert (explained.method, explained.label) == (method, reading.label)
    assert explained.heat.shape == (128, 128)
    finding = open_reader.explain(reading, method=method, label="pneumonia")
    odds = np.log(reading.finding_probability / (1 - reading.finding_probability))
    assert finding.label == "pneumonia" and finding.score == pytest.approx(odds, abs=1e-3)
    assert open_reader.read(CHEST, model="chest_xray").probabilities == reading.probabilities


def test_what_cannot_be_explained_says_why(open_reader: ScanReader) -> None:
    with pytest.raises(InputError, match="no reading to explain"):
        open_reader.explain(open_reader.read(BLANK))
    reading = open_reader.read(CHEST, model="chest_xray")
    with pytest.raises(InputError, match="`label` must be one of normal, bacterial, viral, pneumonia, got 'glioma'"):
        open_reader.explain(reading, label="glioma")
    with pytest.raises(InputError, match="`method` must be one of grad_cam, shap, got 'lime'"):
        open_reader.explain(reading, method="lime")


def test_a_scan_network_is_loaded_when_first_needed(shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, traced, load = [], [], readers.ScanModel.load
    monkeypatch.setattr(readers.ScanModel, "load", lambda model: loaded.append(model) or load(model))
    monkeypatch.setattr(readers.Explainer, "prepare", lambda explainer: traced.append(explainer))
    reader = with_limits(ScanReader(), kind=1.0, reconstruction=1e9, distance=1e9)
    assert loaded == []
    assert reader.read(CHEST, model="chest_xray").status == "read" and loaded == ["chest_xray"]
    with ThreadPoolExecutor(3) as pool:
        assert len({id(one) for one in pool.map(reader.model, ["brain_mri"] * 3)}) == 1
    reader.prepare()
    assert loaded == ["chest_xray", "brain_mri"] and not traced
    reader.prepare(explanations=True)
    assert traced == [reader.model(model).explainer for model in MODELS]


def test_there_is_one_reader_per_process(shipped) -> None:
    readers._reader.cache_clear()
    try:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda _: load_reader(), range(3)))
        assert len({id(one) for one in found}) == 1
    finally:
        readers._reader.cache_clear()


def test_a_changed_bundle_is_not_loaded(shipped, trained, monkeypatch, tmp_path) -> None:
    import json
    import shutil

    from medai_core import registry
    from medai_core.errors import ArtifactError
    from medai_core.settings import settings

    shutil.copytree(trained.assets, tmp_path / "assets")
    with (tmp_path / "assets/models/brain_mri/card.yaml").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setenv("MEDAI_ASSETS", str(tmp_path / "assets"))
    settings.cache_clear()
    assert set(json.loads(registry.PINNED.read_text())) <= set(registry.MODELS)
    with pytest.raises(ArtifactError, match=r"card\.yaml in the bundle brain_mri"):
        ScanReader()
