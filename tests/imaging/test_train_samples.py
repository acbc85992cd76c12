"""The demonstration scans: what is drawn on a head, and that the shipped ones read as their rows say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from medai_core import registry
from medai_core.errors import ArtifactError
from medai_core.imaging.dataset import LABELS
from medai_core.imaging.prepare import VIA
from medai_core.imaging.train_samples import LESIONS, chosen, draw_on_head
from medai_core.settings import settings

LISTING = settings().assets_dir / "samples.yaml"
ROWS = [row for row in yaml.safe_load(LISTING.read_text("utf-8")) if row["model"] in {*LABELS, "auto"}]


def head() -> np.ndarray:
    """A soft grey ellipse, as the autoencoder draws one: rows 24 to 200, columns 42 to 182."""
    rows, columns = np.mgrid[:VIA, :VIA]
    inside = 1 - np.square((rows - 112) / 88) - np.square((columns - 112) / 70)
    return np.round(90 * np.clip(8 * inside, 0, 1)).astype(np.uint8)


def lesion(label: str, seed: int) -> np.ndarray:
    """Where a drawing of the label is far brighter than its tissue: (N, 2) rows and columns."""
    drawn = draw_on_head(head(), label, np.random.default_rng(seed)).astype(float)
    return np.argwhere(drawn > 1.25 * np.quantile(drawn[head() > 80], 0.5))


def test_tissue_is_drawn_on_the_head_and_nothing_beside_it() -> None:
    drawn = draw_on_head(head(), "notumor", np.random.default_rng(0))
    assert drawn.shape == (VIA, VIA) and drawn.dtype == np.uint8
    assert drawn[head() == 90].std() > 3 > head()[head() == 90].std()
    assert drawn[:15].max() < 20


@pytest.mark.parametrize("seed", range(4))
def test_each_lesion_is_drawn_where_it_belongs(seed: int) -> None:
    with_glioma = draw_on_head(head(), "glioma", np.random.default_rng(seed))
    without = draw_on_head(head(), "notumor", np.random.default_rng(seed))
    changed = np.argwhere(np.abs(with_glioma.astype(int) - without) > 40)
    assert np.abs(changed[:, 1] - 112).max() > 20  # in one hemisphere
    rows, columns = np.median(lesion("pituitary", seed), 0)
    assert 95 < rows < 150 and abs(columns - 112) < 25
    rows, columns = np.median(lesion("meningioma", seed), 0)
    assert np.hypot((rows - 112) / 88, (columns - 112) / 70) > 0.5


def test_two_draws_differ_and_one_seed_repeats() -> None:
    for label in LESIONS:
        one, same, other = (draw_on_head(head(), label, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert (one == same).all() and (one != other).any()


class Sure:
    """A reader that takes every image's first byte for the probability, and small ones for another label."""

    def read(self, data: bytes, model: str, demonstration: bool) -> SimpleNamespace:
        assert demonstration and model == "chest_xray"
        label = "viral" if data[0] > 100 else "normal"
        return SimpleNamespace(label=label, probabilities={label: data[0] / 255})


def test_of_generated_images_those_read_as_their_label_are_chosen_surest_first() -> None:
    candidates = [(bytes([value]), bytes([value, 1])) for value in (120, 30, 250, 90, 200)]
    assert chosen(candidates, "chest_xray", "viral", Sure()) == [(b"\xfa", b"\xfa\x01"), (b"\xc8", b"\xc8\x01")]
    with pytest.raises(ArtifactError, match="Only 1 of 2 images were read as viral"):
        chosen(candidates[:2], "chest_xray", "viral", Sure())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_a_shipped_sample_reads_as_its_row_says(row: dict[str, str]) -> None:
    if len(registry.available()) < len(registry.MODELS):
        pytest.skip("models are not here yet")
    from medai_core.imaging.reader import load_reader

    data = (LISTING.parent / "samples" / row["file"]).read_bytes()
    as_a_patient = load_reader(whole=False).read(data)
    assert (as_a_patient.status, as_a_patient.code) == ("refused", "synthetic")
    reading = load_reader(whole=False).read(data, demonstration=True)
    assert "no patient" in str(reading.cautions[0])
    if row["label"] == "refused":
        assert (reading.status, reading.code != "synthetic") == ("refused", True)
    else:
        assert (reading.status, reading.model, reading.label) == ("read", row["model"], row["label"])


def test_every_label_has_a_sample() -> None:
    labels = {(model, label) for model, known in LABELS.items() for label in known}
    assert {(row["model"], row["label"]) for row in ROWS} >= labels
