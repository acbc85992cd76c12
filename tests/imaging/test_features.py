"""What a scan network sees: features of all members side by side, and the very answer a reading gives."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_scans import draw_brain, draw_chest
from PIL import Image

from medai_core.imaging.features import scan_answers
from medai_core.imaging.reader import ScanReader


@pytest.mark.parametrize(("model", "draw"), [("chest_xray", draw_chest), ("brain_mri", draw_brain)])
def test_features_come_with_the_answer_of_a_reading(reader: ScanReader, shipped, model: str, draw) -> None:
    drawn = [np.asarray(Image.fromarray(draw(k % 3, k)).resize((128, 128))) for k in range(5)]
    pixels = np.stack(drawn)
    features, probabilities = scan_answers(model)(pixels)
    loaded = reader.model(model)
    members = sum(layer.name.startswith("member_") for layer in loaded.network.layers)
    assert len(features) == 5 and features.shape[1] % members == 0 and np.ptp(features, 0).max() > 0
    expected = loaded.predict(pixels[..., None].astype(np.float32) / 255)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
