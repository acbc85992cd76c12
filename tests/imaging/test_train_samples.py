"""The demonstration scans: which of many are chosen, and that the shipped ones read as their rows say."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from medai_core import registry
from medai_core.errors import ArtifactError
from medai_core.imaging.dataset import LABELS
from medai_core.imaging.train_samples import chosen
from medai_core.settings import settings

LISTING = settings().assets_dir / "samples.yaml"
ROWS = [row for row in yaml.safe_load(LISTING.read_text("utf-8")) if row["model"] in {*LABELS, "auto"}]


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
