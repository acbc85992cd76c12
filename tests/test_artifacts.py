from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from medai_core import artifacts
from medai_core.errors import ArtifactError

CARD = {"id": "tiny", "version": "1.0", "name": "Tiny · 小", "labels": ["a", "b"], "seed": np.int64(3)}
PREPROCESSING = {"size": 8, "mean": np.float32(0.5), "labels": ("a", "b"), "scale": np.ones(2)}
METRICS = {"figures": [{"metric": "auc", "value": 0.9, "low": 0.8, "high": 0.95, "n": 10}]}
ARRAYS = {"background": {"images": np.arange(6, dtype=np.float32).reshape(2, 3)}}


@pytest.fixture
def saved(tmp_path, tiny_model) -> artifacts.Bundle:
    return artifacts.save_bundle(tmp_path / "tiny", tiny_model, CARD, PREPROCESSING, METRICS, ARRAYS)


def test_round_trip(saved, tiny_model):
    assert (saved.id, saved.version, saved.path.name) == ("tiny", "1.0", "tiny")
    assert saved.card == CARD
    assert saved.preprocessing == {"size": 8, "mean": 0.5, "labels": ["a", "b"], "scale": [1.0, 1.0]}
    assert saved.metrics == METRICS
    assert saved.size_mb == pytest.approx(sum(p.stat().st_size for p in saved.path.iterdir()) / 1e6)
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    loaded = artifacts.load_model(saved)
    assert not loaded.compiled
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(tiny_model(x)))
    np.testing.assert_array_equal(artifacts.load_arrays(saved, "background")["images"], ARRAYS["background"]["images"])


def test_stored_weights_are_rounded_and_deflated(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(256)])
    before = model.get_weights()
    saved = artifacts.save_bundle(tmp_path / "tiny", model, CARD, PREPROCESSING, METRICS)
    for old, mine, theirs in zip(before, model.get_weights(), artifacts.load_model(saved).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_allclose(mine, old, rtol=2.0**-artifacts.KEPT_BITS)
        assert not (mine.view(np.uint32) & 0xFFF).any()
    assert saved.size_mb * 1e6 < 0.7 * 4 * 256 * 256


def test_rounding_goes_to_the_nearest():
    step = 2.0 ** (1 - artifacts.KEPT_BITS)
    values = np.array([0, 1, 1 + 0.4 * step, 1 + 0.6 * step, -1 - 0.6 * step, 1e-30], np.float32)
    np.testing.assert_array_equal(artifacts.rounded(values)[:5], [0, 1, 1, 1 + step, -1 - step])


def test_digest_is_over_names_and_hashes(saved):
    files = [path for path in saved.path.iterdir() if path.name != "digests.json"]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert json.loads((saved.path / "digests.json").read_text()) == hashes
    text = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    assert saved.digest == hashlib.sha256(text.encode()).hexdigest() == artifacts.verify(saved.path, saved.digest)


FILES = ["model.keras", "card.yaml", "preprocessing.json", "metrics.json", "background.npz"]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found(saved, name):
    data = bytearray((saved.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (saved.path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name} in the bundle tiny must have SHA-256"):
        artifacts.verify(saved.path)


@pytest.mark.parametrize("name", [*FILES, "digests.json"])
def test_a_missing_file_is_found(saved, name):
    (saved.path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing from the bundle tiny"):
        artifacts.verify(saved.path)


@pytest.mark.parametrize("name", ["extra.npz", ".hidden", "sub/extra.json"])
def test_an_extra_file_is_found(saved, name):
    (saved.path / name).parent.mkdir(exist_ok=True)
    (saved.path / name).write_text("{}")
    with pytest.raises(ArtifactError, match="is in the bundle tiny, but digests.json does not list it"):
        artifacts.verify(saved.path)


def test_a_required_file_must_be_there_even_when_unlisted(saved):
    (saved.path / "metrics.json").unlink()
    listed = json.loads((saved.path / "digests.json").read_text())
    del listed["metrics.json"]
    (saved.path / "digests.json").write_text(json.dumps(listed))
    with pytest.raises(ArtifactError, match="metrics.json is missing"):
        artifacts.verify(saved.path)


def test_a_link_is_no_plain_file(saved, tmp_path):
    os.rename(saved.path / "card.yaml", tmp_path / "elsewhere.yaml")
    (saved.path / "card.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(ArtifactError, match="card.yaml in the bundle tiny must be a plain file"):
        artifacts.verify(saved.path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"card.yaml": 3}', "\udcff"])
def test_damaged_digests_are_refused(saved, text):
    (saved.path / "digests.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtifactError, match="digests.json"):
        artifacts.verify(saved.path)


def test_tampering_with_digests_too_is_found_by_the_pin(saved):
    (saved.path / "metrics.json").write_text('{"figures": []}')
    listed = json.loads((saved.path / "digests.json").read_text())
    listed["metrics.json"] = hashlib.sha256((saved.path / "metrics.json").read_bytes()).hexdigest()
    (saved.path / "digests.json").write_text(json.dumps(listed))
    assert artifacts.verify(saved.path) != saved.digest
    with pytest.raises(ArtifactError, match="is not the pinned one"):
        artifacts.read_bundle(saved.path, saved.digest)
    with pytest.raises(ArtifactError, match="is not the pinned one"):
        artifacts.load_model(saved)


def test_saving_replaces_the_bundle_and_leaves_nothing_else(saved, tiny_model):
    newer = artifacts.save_bundle(saved.path, tiny_model, CARD | {"version": "2.0"}, PREPROCESSING, METRICS)
    assert (newer.version, newer.path) == ("2.0", saved.path)
    assert [p.name for p in saved.path.parent.iterdir()] == ["tiny"]
    with pytest.raises(ArtifactError, match="holds no file named background.npz"):
        artifacts.load_arrays(newer, "background")


@pytest.mark.parametrize(
    ("card", "metrics", "arrays", "error"),
    [
        ({"id": "tiny"}, METRICS, {}, ArtifactError),
        (CARD, {"auc": math.nan}, {}, ArtifactError),
        (CARD, {"auc": object()}, {}, ArtifactError),
        (CARD, METRICS, {"bad": {"x": np.array([object()])}}, ValueError),
    ],
)
def test_a_failed_save_leaves_the_old_bundle(saved, tiny_model, card, metrics, arrays, error):
    with pytest.raises(error):
        artifacts.save_bundle(saved.path, tiny_model, card, PREPROCESSING, metrics, arrays)
    assert artifacts.verify(saved.path) == saved.digest
    assert [p.name for p in saved.path.parent.iterdir()] == ["tiny"]


def test_a_failed_rename_puts_the_old_bundle_back(saved, tiny_model, monkeypatch):
    rename = os.rename

    def refuse_new(source: Path, target: Path) -> None:
        if Path(target) == saved.path and "replaced" not in str(source):
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr(artifacts.os, "rename", refuse_new)
    with pytest.raises(OSError, match="disk full"):
        artifacts.save_bundle(saved.path, tiny_model, CARD | {"version": "2.0"}, PREPROCESSING, METRICS)
    assert artifacts.verify(saved.path) == saved.digest


def test_a_folder_of_other_things_is_not_replaced(tmp_path, tiny_model):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="replaces only a bundle"):
        artifacts.save_bundle(tmp_path, tiny_model, CARD, PREPROCESSING, METRICS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def rewrite(saved: artifacts.Bundle, name: str, data: bytes) -> artifacts.Bundle:
    """Replace a file together with its digest, as a careless publisher would."""
    (saved.path / name).write_bytes(data)
    listed = json.loads((saved.path / "digests.json").read_text())
    (saved.path / "digests.json").write_text(json.dumps(listed | {name: hashlib.sha256(data).hexdigest()}))
    return artifacts.read_bundle(saved.path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("card.yaml", b"- 1"),
        ("card.yaml", b"{"),
        ("card.yaml", b"\xff"),
        ("card.yaml", b"!!python/object:os.system {}"),
        ("metrics.json", b"[]"),
        ("preprocessing.json", b"{"),
    ],
)
def test_listed_but_unreadable_files_are_named(saved, name, data):
    with pytest.raises(ArtifactError, match=name):
        rewrite(saved, name, data)


def test_a_model_that_is_no_model_is_named(saved):
    with pytest.raises(ArtifactError, match="model.keras in the bundle tiny cannot be loaded"):
        artifacts.load_model(rewrite(saved, "model.keras", b"PK no zip"))


def test_a_lambda_in_a_model_is_refused(tmp_path):
    import keras

    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Lambda(lambda t: t * 2)(x))
    saved = artifacts.save_bundle(tmp_path / "tiny", model, CARD, PREPROCESSING, METRICS)
    with pytest.raises(ArtifactError, match="model.keras in the bundle tiny cannot be loaded"):
        artifacts.load_model(saved)


def test_pickled_arrays_are_refused(saved, tmp_path):
    np.savez(tmp_path / "p.npz", x=np.array([{}]))
    with pytest.raises(ArtifactError, match="background.npz in the bundle tiny cannot be loaded"):
        artifacts.load_arrays(rewrite(saved, "background.npz", (tmp_path / "p.npz").read_bytes()), "background")


def test_only_listed_files_of_the_verified_bundle_are_read(saved):
    with pytest.raises(ArtifactError, match="holds no file named ../background.npz"):
        artifacts.load_arrays(saved, "../background")
    rewrite(saved, "background.npz", b"other")
    with pytest.raises(ArtifactError, match="The bundle tiny was changed since it was verified"):
        artifacts.load_arrays(saved, "background")


def fitted_tree(seed: int = 0):
    from sklearn.ensemble import RandomForestClassifier

    x = np.random.default_rng(seed).normal(size=(40, 3))
    return RandomForestClassifier(3, random_state=seed).fit(x, x[:, 0] > 0), x


TREE = "sklearn.tree._tree.Tree"


def test_estimators_come_back_and_make_the_same_bytes_again(tmp_path):
    forest, x = fitted_tree()
    first, second = (
        artifacts.save_bundle(tmp_path / name, None, CARD, PREPROCESSING, METRICS, estimators={"forest": one})
        for name, one in (("a", forest), ("b", fitted_tree()[0]))
    )
    assert first.digest == second.digest
    again = artifacts.load_estimator(first, "forest", [TREE])
    np.testing.assert_array_equal(again.predict_proba(x), forest.predict_proba(x))
    with pytest.raises(ArtifactError, match="forest.skops in the bundle tiny cannot be loaded"):
        artifacts.load_estimator(first, "forest")


def test_a_damaged_estimator_is_named(tmp_path):
    made = artifacts.save_bundle(tmp_path / "a", None, CARD, PREPROCESSING, METRICS, estimators={"f": fitted_tree()[0]})
    with pytest.raises(ArtifactError, match="f.skops in the bundle tiny cannot be loaded"):
        artifacts.load_estimator(rewrite(made, "f.skops", b"PK no zip"), "f", [TREE])


def test_several_networks_are_saved_by_name(tmp_path, tiny_model):
    made = artifacts.save_bundle(tmp_path / "a", {"one": tiny_model}, CARD, PREPROCESSING, METRICS)
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(np.asarray(artifacts.load_model(made, "one.keras")(x)), np.asarray(tiny_model(x)))
    with pytest.raises(ArtifactError, match="holds no file named model.keras"):
        artifacts.load_model(made)
