"""The gate: its three signals against a slow oracle, its rules one by one, its limits as asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drawn_scans import dicom, draw_brain, draw_chest, encode

from medai_core.imaging import gate
from medai_core.imaging.gate import KINDS, MODELS, SIGNALS, Limits, check_before, colourfulness, judge, measure
from medai_core.imaging.read import read_scan
from medai_core.imaging.scan import Scan

FEATURES = 5
CHEST_PIXELS, BRAIN_PIXELS = draw_chest(0, 1), draw_brain(2, 1)


def outputs(count: int = 3, seed: int = 0, **kinds: float) -> dict[str, np.ndarray]:
    """What a gate network could have said; ``kinds`` sets logits by name."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (count, len(KINDS))).astype(np.float32)
    for name, value in kinds.items():
        logits[:, KINDS.index(name)] = value
    original = rng.random((count, 64, 64, 1), np.float32)
    return {
        "features": rng.random((count, FEATURES), np.float32),
        "kinds": logits,
        "original": original,
        "reconstruction": np.clip(original + rng.normal(0, 0.1, original.shape), 0, 1).astype(np.float32),
    }


def limits(**changed: float) -> Limits:
    """Limits that everything keeps, but for the changed ones."""
    rng = np.random.default_rng(9)
    spread = rng.random((FEATURES, FEATURES))
    wide = {"kind": 0.99, "reconstruction": 100.0, "distance": 100.0} | changed
    precision = (np.eye(FEATURES) + spread @ spread.T).astype(np.float32)
    mean = np.full(FEATURES, 0.5, np.float32)
    return Limits(dict.fromkeys(MODELS, wide), dict.fromkeys(MODELS, mean), dict.fromkeys(MODELS, precision))


# ------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("model", MODELS)
def test_signals_equal_a_slow_oracle(model: str) -> None:
    said, held = outputs(4), limits()
    fast = measure(said, model, held.means[model], held.precisions[model])
    for row in range(4):
        power = np.exp(said["kinds"][row].astype(float))
        doubt = 1 - power[KINDS.index(model)] / power.sum()
        before, after = (said[name][row].astype(float).ravel() for name in ("original", "reconstruction"))
        error = sum((before - after) ** 2) / len(before) / (before.var() + 1e-3)
        away = said["features"][row] - held.means[model]
        squared = sum(
            away[f] * held.precisions[model][f, g] * away[g] for f in range(FEATURES) for g in range(FEATURES)
        )
        np.testing.assert_allclose(fast[row], [doubt, error, np.sqrt(squared)], rtol=1e-4)
    assert fast.shape == (4, len(SIGNALS))


def test_contrast_does_not_change_the_redrawing_error() -> None:
    said, held = outputs(2), limits()
    faint = said | {name: 0.5 * said[name] + 0.2 for name in ("original", "reconstruction")}
    one, other = (measure(x, MODELS[0], held.means[MODELS[0]], held.precisions[MODELS[0]])[:, 1] for x in (said, faint))
    np.testing.assert_allclose(one, other, rtol=0.05)


def test_large_logits_do_not_overflow() -> None:
    assert gate.softmax(np.array([[1000.0, 0.0, -1000.0]], np.float32)).tolist() == [[1.0, 0.0, 0.0]]


# -------------------------------------------------------------------------------------------------- colour


def tinted(
    pixels: np.ndarray, red: float, green: float, blue: float, lift: tuple[int, int, int] = (0, 0, 0)
) -> np.ndarray:
    """Grey (H, W) seen through a coloured film, over a coloured light."""
    channels = [np.clip(pixels * share + plus, 0, 255) for share, plus in zip((red, green, blue), lift, strict=True)]
    return np.stack(channels, -1).astype(np.uint8)


def photograph_in_colour(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return blocks.repeat(32, 0).repeat(32, 1)


@pytest.mark.parametrize("film", [(0.85, 0.93, 1.0), (1.0, 0.9, 0.7), (0.8, 1.0, 0.8)])
@pytest.mark.parametrize("lift", [(0, 0, 0), (0, 10, 30)])
def test_an_even_tint_is_no_photograph(film: tuple, lift: tuple) -> None:
    colour = tinted(CHEST_PIXELS, *film, lift)
    assert colourfulness(colour) < gate.COLOUR_LIMIT / 3
    scan = read_scan(encode(colour))
    assert scan.colour is not None and check_before(scan, None) is None


@pytest.mark.parametrize("seed", range(4))
def test_a_photograph_in_colour_is_refused(seed: int) -> None:
    report = check_before(read_scan(encode(photograph_in_colour(seed), "PNG")), None)
    assert (report.code, report.accepted) == ("photograph", False)
    (signal,) = report.signals
    assert signal.name == "colour" and signal.exceeded and signal.value > 2 * signal.limit


def test_grey_is_colourless() -> None:
    assert colourfulness(np.repeat(CHEST_PIXELS[..., None], 3, -1)) == pytest.approx(0, abs=1e-3)


# --------------------------------------------------------------------------------------------------- blank


@pytest.mark.parametrize("level", [0, 100, 255])
def test_blank_is_refused(level: int) -> None:
    report = check_before(read_scan(encode(np.full((200, 300), level, np.uint8))), None)
    assert report.code == "blank" and report.signals[0].exceeded


# ---------------------------------------------------------------------------------------------------- tags


def tagged(**tags: str | None) -> Scan:
    return dataclasses.replace(read_scan(encode(CHEST_PIXELS)), **tags)


@pytest.mark.parametrize(
    ("tags", "model", "code"),
    [
        ({}, None, None),
        ({"modality": "CR"}, None, None),
        ({"modality": "DX", "body_part": "chest"}, "chest_xray", None),
        ({"modality": "MR", "body_part": "BRAIN"}, None, None),
        ({"modality": "OT"}, "brain_mri", None),
        ({"modality": "SC", "body_part": "CHEST"}, None, None),
        ({"modality": "CT"}, None, "other_modality"),
        ({"modality": "CT", "body_part": "CHEST"}, "chest_xray", "other_modality"),
        ({"modality": "MR"}, "chest_xray", "other_modality"),
        ({"modality": "CR"}, "brain_mri", "other_modality"),
        ({"modality": "CR", "body_part": "HAND"}, None, "wrong_body_part"),
        ({"modality": "MR", "body_part": "KNEE"}, None, "wrong_body_part"),
        ({"modality": "CR", "body_part": "SKULL"}, None, "wrong_body_part"),
        ({"modality": "MR", "body_part": "CHEST"}, None, "wrong_body_part"),
        ({"body_part": "HEAD"}, "chest_xray", "wrong_body_part"),
        ({"modality": "DX", "view": "PA"}, None, None),
        ({"modality": "DX", "view": "LL"}, None, "unlike_training"),
        ({"modality": "DX", "view": "left lateral"}, None, "unlike_training"),
        ({"modality": "cr", "body_part": "CHEST PA"}, None, None),
        ({"modality": "CR", "body_part": "PORT CHEST"}, "chest_xray", None),
        ({"modality": "MR", "body_part": "HEADNECK"}, None, None),
        ({"modality": "mr", "body_part": "HEAD^BRAIN"}, "brain_mri", None),
        ({"modality": "MR", "body_part": "Neuro"}, None, None),
        ({"modality": "CR", "body_part": "胸部"}, None, None),
        ({"modality": "DX", "view": "RLO"}, None, "unlike_training"),
        ({"modality": "DX", "view": "left anterior oblique"}, None, "unlike_training"),
        ({"modality": "OT", "view": "LL"}, None, "unlike_training"),
        ({"modality": "MR", "view": "LATERAL"}, None, None),
        ({"view": "LL"}, "brain_mri", None),
        ({"modality": "DX", "view": "antero-posterior"}, None, None),
    ],
)
def test_tags_that_contradict_are_final(tags: dict[str, str], model: str | None, code: str | None) -> None:
    report = check_before(tagged(**tags), model)
    assert (report.code if report else None) == code
    if report:
        assert not report.accepted and "The file says" in str(report.reason)
        if code == "wrong_body_part":
            assert tags["body_part"] in str(report.reason)


@pytest.mark.parametrize("view", ["LLD", "RLD", "left lateral decubitus"])
def test_decubitus_is_called_so(view: str) -> None:
    said = str(check_before(tagged(modality="DX", view=view), None).reason)
    assert "lies on the side (decubitus)" in said and "lateral" not in said


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"modality": "Roe, Jane"}, "another one than"),
        ({"modality": "CR", "body_part": "Jane Roe 1980"}, "another part of the body"),
        ({"modality": "CR", "body_part": "Hand of Jane Roe"}, "it shows HAND;"),
        ({"modality": "CR", "view": "lateral, Jane Roe"}, "lateral or oblique"),
    ],
)
def test_what_someone_typed_into_a_tag_is_not_repeated(tags: dict[str, str], said: str) -> None:
    reason = str(check_before(tagged(**tags), None).reason)
    assert said in reason and "roe" not in reason.lower() and "jane" not in reason.lower()


def test_words_that_may_be_repeated_include_those_the_gate_knows() -> None:
    for known in (*gate.MODALITIES.values(), *gate.BODY_PARTS.values()):
        assert known <= gate.SAYABLE


@pytest.mark.parametrize(
    ("tags", "model"),
    [
        ({}, None),
        ({"modality": "CR"}, "chest_xray"),
        ({"modality": "DX", "body_part": "Chest"}, "chest_xray"),
        ({"modality": "MR", "body_part": "HEAD"}, "brain_mri"),
        ({"modality": "MR"}, "brain_mri"),
        ({"modality": "MR", "body_part": "KNEE"}, None),
        ({"modality": "OT", "body_part": "CHEST"}, "chest_xray"),
        ({"modality": "SC", "body_part": "PORT CHEST"}, "chest_xray"),
        ({"modality": "ot", "body_part": "Brain"}, "brain_mri"),
        ({"body_part": "HEAD"}, "brain_mri"),
        ({"modality": "OT", "body_part": "HEAD AND CHEST"}, None),
        ({"modality": "OT", "body_part": "KNEE"}, None),
        ({"modality": "OT"}, None),
        ({"modality": "MR", "body_part": "HEADNECK"}, "brain_mri"),
    ],
)
def test_tags_name_the_model(tags: dict[str, str], model: str | None) -> None:
    assert gate.model_from_tags(tagged(**tags)) == model


def test_tags_come_out_of_a_real_file() -> None:
    scan = read_scan(dicom(CHEST_PIXELS, Modality="CR", BodyPartExamined="HAND"))
    assert check_before(scan, None).code == "wrong_body_part"


# ------------------------------------------------------------------------------------------------- verdict


@pytest.mark.parametrize("model", MODELS)
def test_a_right_image_is_accepted_by_its_model(model: str) -> None:
    said = outputs(1, **{model: 9.0})
    for asked in (None, model):
        chosen, report = judge(said, limits(), asked)
        assert chosen == model and report.accepted and report.code == "ok" and report.reason is None
    assert [signal.name for signal in report.signals] == list(SIGNALS)
    assert sum(report.kind_probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert list(report.kind_probabilities) == list(KINDS)
    assert report.original.shape == report.reconstruction.shape == (64, 64)


@pytest.mark.parametrize("kind", KINDS[2:])
def test_a_wrong_image_is_named(kind: str) -> None:
    chosen, report = judge(outputs(1, **{kind: 9.0, "brain_mri": 5.0, "chest_xray": 0.0}), limits(kind=0.5), None)
    assert (chosen, report.accepted, report.code) == ("brain_mri", False, kind)
    assert report.reason == gate.REASONS[kind] and "{" not in str(report.reason)


def test_the_other_model_s_image_is_another_modality() -> None:
    chosen, report = judge(outputs(1, brain_mri=9.0), limits(kind=0.5), "chest_xray")
    assert (chosen, report.code) == ("chest_xray", "other_modality")
    assert report.reason == gate.NOT_THIS["chest_xray"]


@pytest.mark.parametrize("signal", ["reconstruction", "distance"])
def test_a_right_kind_that_is_odd_is_unlike_training(signal: str) -> None:
    _, report = judge(outputs(1, chest_xray=9.0), limits(**{signal: 1e-3}), None)
    assert (report.accepted, report.code) == (False, "unlike_training")
    assert [s.name for s in report.signals if s.exceeded] == [signal]


def test_every_code_has_its_words() -> None:
    assert set(gate.REASONS) == set(KINDS[2:])
    assert set(gate.NOT_THIS) == set(MODELS)


def test_limits_travel_in_the_bundle(trained) -> None:
    from medai_core.artifacts import read_bundle

    held = Limits.from_bundle(read_bundle(trained.assets / "models" / "scan_gate"))
    for model in MODELS:
        assert set(held.limits[model]) == set(SIGNALS)
        assert held.means[model].shape == (64,) and held.precisions[model].shape == (64, 64)
        assert (np.linalg.eigvalsh(held.precisions[model].astype(float)) > 0).all()
