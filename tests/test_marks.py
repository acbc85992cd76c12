"""The marks of a synthetic image: put on, spoiled in every way an image is on its way, and recognised again."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from medai_core import marks
from medai_core.errors import InputError

Pixels = NDArray[np.uint8]
Way = Image.Resampling


def drawn(seed: int, side: int = 128) -> Pixels:
    """Soft grey shapes on black with 1/f texture, about as a radiograph or a slice has them: nobody's picture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 1 / (1 + np.exp(14 * (np.hypot(x / rng.uniform(0.7, 1.3), y / rng.uniform(0.8, 1.4)) - 0.8)))
    shapes = sum(
        rng.uniform(-0.6, 0.6) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / rng.uniform(0.02, 0.3))
        for a, b in rng.uniform(-0.8, 0.8, (8, 2))
    )
    texture = sum(gaussian_filter(rng.normal(size=x.shape), s) * s * 0.03 for s in (0.7, 1.5, 3, 6))
    return np.clip(255 * body * (0.5 + shapes + texture), 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int = 75, mode: str = "L") -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("L"))


def resized(pixels: Pixels, width: int, way: Way, height: int | None = None) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height or width), way))


WAYS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda x: x,
    "JPEG 75": jpeg,
    "JPEG 75 in colour": lambda x: jpeg(x, mode="RGB"),
    "224 bilinear": lambda x: resized(x, 224, Way.BILINEAR),
    "224 bicubic": lambda x: resized(x, 224, Way.BICUBIC),
    "224 bilinear, JPEG 75": lambda x: jpeg(resized(x, 224, Way.BILINEAR)),
    "224 bicubic, JPEG 75": lambda x: jpeg(resized(x, 224, Way.BICUBIC)),
    "JPEG 75, 224 bilinear, JPEG 75": lambda x: jpeg(resized(jpeg(x), 224, Way.BILINEAR)),
    "there and back": lambda x: resized(resized(x, 224, Way.BILINEAR), 128, Way.BILINEAR),
    "1500 × 1200, JPEG 90": lambda x: jpeg(resized(x, 1500, Way.BICUBIC, 1200), 90),
    "512 bicubic": lambda x: resized(x, 512, Way.BICUBIC),
}


@pytest.fixture(scope="module")
def images() -> list[Pixels]:
    return [drawn(seed) for seed in range(12)]


@pytest.mark.parametrize("way", WAYS)
def test_marks_survive_what_an_image_goes_through(images: list[Pixels], way: str) -> None:
    for image in images:
        both = marks.recognise(WAYS[way](marks.watermark(marks.visible(image))))
        assert (both.visible, both.watermark, both.any) == (True, True, True)
        clean = marks.recognise(WAYS[way](marks.watermark(image)))
        assert (clean.visible, clean.watermark) == (False, True)
        seen = marks.recognise(WAYS[way](marks.visible(image)))
        assert (seen.visible, seen.watermark) == (True, False)


def test_an_unmarked_image_has_no_mark(images: list[Pixels]) -> None:
    scores = []
    for seed in range(150):
        found = marks.recognise(drawn(seed))
        assert not found.any and found.names() == ()
        scores.append((found.visible_score, found.watermark_score))
    assert np.abs(np.mean(scores, 0)).max() < 0.05  # the limits lie far from what chance gives
    assert np.max(scores, 0)[0] < marks.VISIBLE_LIMIT / 2 and np.max(scores, 0)[1] < marks.WATERMARK_LIMIT - 0.1


@pytest.mark.parametrize("picture", [np.zeros, np.ones, lambda shape: np.indices(shape).sum(0) % 2])
@pytest.mark.parametrize("shape", [(128, 128), (1, 1), (3, 700), (1000, 90), (2600, 2100)])
def test_odd_pictures_have_no_mark(picture, shape: tuple[int, int]) -> None:
    assert not marks.recognise((255 * picture(shape)).astype(np.uint8)).any


def test_the_watermark_is_nearly_invisible(images: list[Pixels]) -> None:
    change = np.stack([marks.watermark(image).astype(float) - image for image in images])
    assert 10 * np.log10(255**2 / np.square(change).mean()) > 40  # peak signal-to-noise ratio in dB


@pytest.mark.parametrize(("height", "width"), [(224, 224), (512, 400), (300, 900)])
def test_larger_images_can_be_marked_too(height: int, width: int) -> None:
    image = resized(drawn(3), width, Way.BICUBIC, height)
    marked = marks.watermark(marks.visible(image))
    found = marks.recognise(jpeg(marked))
    assert marked.shape == image.shape and found.visible and found.watermark


def test_the_visible_mark_is_the_word_in_white_on_black_in_the_lower_left_corner() -> None:
    image = np.full((128, 128), 90, np.uint8)
    marked = marks.visible(image)
    rows, columns = np.nonzero(marked != image)
    assert rows.min() > 110 and rows.max() < 127 and columns.min() < 4 and columns.max() < 64
    assert set(np.unique(marked)) == {0, 90, 255} and (image == 90).all()
    strokes = (marked == 255).sum(0)[2:]
    letters = np.flatnonzero((strokes[:-1] == 0) & (strokes[1:] > 0))
    assert len(letters) == len(marks.TEXT)


def test_the_fast_reading_is_the_librarys(images: list[Pixels]) -> None:
    core = marks._library()(password_img=marks._KEY)
    core.d1, core.d2, core.wm_size = marks._STEP, 0, marks._BITS.size
    for image in (images[0], marks.watermark(images[1]), jpeg(marks.watermark(images[2]))):
        slow = core.extract_raw(np.repeat(image[..., None], 3, 2))[0]
        fast = marks.block_strengths(image) % marks._STEP > marks._STEP / 2
        assert (fast == slow).mean() > 0.99  # a strength on the border may fall to either side
    assert (fast != np.resize(marks._BITS, fast.size)).mean() < 0.1


def test_the_library_reads_the_bits(images: list[Pixels]) -> None:
    core = marks._library()(password_img=marks._KEY)
    read = [
        core.extract_with_kmeans(np.repeat(marks.watermark(image)[..., None], 3, 2), marks._BITS.size)
        for image in images[:3]
    ]
    assert (np.stack(read) != marks._BITS).mean() < 0.1


def test_the_library_leaves_the_process_as_it_was() -> None:
    import multiprocessing
    import subprocess
    import sys

    before = multiprocessing.get_start_method(allow_none=True)
    program = (
        "import multiprocessing as m; m.set_start_method('spawn'); from medai_core import marks; marks._library(); "
        "print(m.get_start_method())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), multiprocessing.get_start_method(allow_none=True)) == ("spawn", before), done.stderr


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, False),
        ({"SyntheticData": "YES"}, True),
        ({"SyntheticData": "NO"}, False),
        ({"PatientName": "SYNTHETIC^DEMONSTRATION"}, True),
        ({"PatientID": "synthetic-0001"}, True),
        ({"PatientName": "Synthetica^Anna"}, False),
        ({"DerivationDescription": marks.STATEMENT}, True),
        ({"Description": "Synthetic image drawn by MedAI: no patient. For demonstration only."}, True),
        ({"SeriesDescription": "Synthetic T2 FLAIR", "DerivationDescription": "Synthetic image from MAGiC"}, False),
        ({"xmp": marks.xmp()}, True),
        ({"xmp": marks.xmp("A picture")}, True),
        ({"xmp": marks.xmp("A picture").replace("trained", "compositeWithTrained")}, False),
        ({"comment": "A synthetic 2D view of a tomosynthesis"}, False),
    ],
)
def test_what_a_file_says_of_itself(fields: dict[str, str], told: bool) -> None:
    found = marks.recognise(drawn(1), fields)
    assert (found.visible, found.metadata, found.watermark, found.any) == (False, told, False, told)
    assert [str(name) for name in found.names()] == ["the file's own description"] * told


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
@pytest.mark.parametrize("ask", [marks.visible, marks.watermark, marks.recognise])
def test_what_is_no_grey_image_is_one_sentence(ask, wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="`pixels` must be a grey image"):
        ask(wrong)
