"""Near-copies of training images: found however disguised, and not rebuilt from what is kept of them."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from drawn_bodies import COPIES, bodies, draw_body
from PIL import Image
from scipy import ndimage

from medai_core import likeness, registry
from medai_core.artifacts import load_arrays
from medai_core.errors import ArtifactError, InputError
from medai_core.imaging.prepare import VIA, prepare
from medai_core.imaging.read import read_scan
from medai_core.likeness import Codes
from medai_core.synthesis.privacy import MEMBER, Descriptors, membership_auc

COUNT = 120
PUBLIC = Path(__file__).resolve().parents[2].parent / "shared/data/chest_xray/train"


@pytest.fixture(scope="module")
def training() -> np.ndarray:
    return bodies(COUNT)


@pytest.fixture(scope="module")
def descriptors(training: np.ndarray) -> Descriptors:
    return Descriptors.build(training, np.arange(COUNT), training[:, ::16, ::16].reshape(COUNT, -1))


@pytest.mark.parametrize("kind", COPIES)
def test_a_training_image_is_withheld_however_disguised(training, descriptors, kind: str) -> None:
    chosen = np.array([5, 40, 99])
    found = descriptors.nearest(np.stack([COPIES[kind](training[k]) for k in chosen]))
    np.testing.assert_array_equal(found.nearest, chosen)
    assert found.withheld.all() and (found.similarity > 0.95).all()


def test_other_bodies_are_let_through_as_often_as_real_ones(descriptors: Descriptors) -> None:
    found = descriptors.nearest(bodies(60, start=5000))
    assert not found.withheld.any() and found.similarity.max() < 0.95
    assert 25 < np.median(found.closeness) < 75, "drawn from the same source, they are as near as real ones"


def test_similarity_is_about_the_aligned_correlation_of_thumbnails(training, descriptors: Descriptors) -> None:
    image = np.clip(0.6 * training[7] + 0.4 * draw_body(900), 0, 255).astype(np.uint8)
    windows = likeness._windows(likeness._maps(np.stack([image, training[7]]))).reshape(2, -1)
    exact = np.corrcoef(windows)[0, 1]
    found = descriptors.nearest(image[None])
    assert found.nearest[0] == 7
    assert found.similarity[0] == pytest.approx(exact, abs=0.12)


def test_closeness_counts_real_images_at_least_as_near(descriptors: Descriptors) -> None:
    reference = descriptors.reference
    assert (np.diff(reference) >= 0).all() and len(reference) == COUNT
    found = descriptors.nearest(bodies(5, start=7000))
    for similarity, closeness in zip(found.similarity, found.closeness, strict=True):
        assert closeness == pytest.approx(100 * np.mean(reference >= similarity))


def test_the_reference_leaves_out_images_of_the_same_patient() -> None:
    images = bodies(20)
    twice = np.concatenate([images, np.stack([COPIES["brighter"](image) for image in images])])
    apart = Descriptors.build(twice, np.tile(np.arange(20), 2))
    careless = Descriptors.build(twice, np.arange(40))
    assert apart.reference.max() < 0.9 < careless.reference.min()
    # With the copies in the reference, a copy would pass as no nearer than real images are.
    assert apart.nearest(images[:1]).withheld[0] and not careless.nearest(images[:1]).withheld[0]


def test_an_image_is_judged_alike_alone_and_in_company(descriptors: Descriptors) -> None:
    images = bodies(19, start=300)
    together, alone = descriptors.nearest(images), descriptors.nearest(images[17:18])
    assert alone.similarity[0] == pytest.approx(together.similarity[17], abs=1e-5)


def test_in_feature_space_a_copy_is_withheld_too(training, descriptors: Descriptors) -> None:
    features = training[:, ::16, ::16].reshape(COUNT, -1)
    others = bodies(30, start=4000)
    found = descriptors.nearest(others, others[:, ::16, ::16].reshape(30, -1))
    assert not found.withheld.any() and 15 < np.median(found.feature_closeness) < 85
    # Pixels of a stranger, features of a training image: the features alone give it away.
    found = descriptors.nearest(others[:1], features[:1])
    assert found.closeness[0] > 0.1 and found.feature_closeness[0] == 0 and found.withheld[0]


def test_descriptors_go_through_a_file_and_stay_small(descriptors: Descriptors) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **descriptors.to_arrays())
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as stored:
        again = Descriptors.from_arrays(dict(stored))
    images = bodies(3, start=800)
    features = images[:, ::16, ::16].reshape(3, -1)
    one, other = descriptors.nearest(images, features), again.nearest(images, features)
    np.testing.assert_array_equal(one.similarity, other.similarity)
    np.testing.assert_array_equal(one.feature_closeness, other.feature_closeness)
    assert again.known.codes.nbytes <= 48 * COUNT and len(again) == COUNT
    with pytest.raises(ArtifactError, match="another version"):
        Descriptors.from_arrays(descriptors.to_arrays() | {"layout": np.zeros(5)})


def attacked(owned: np.ndarray, secret: np.ndarray) -> np.ndarray:
    """What the best linear way back makes of the descriptors of secret images: (N, 64, 64).

    The attacker owns other images with their descriptors, and even knows which penalty serves best.
    """
    codes = Codes.of(np.concatenate([owned, secret])).codes.astype(float)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    mine, others = codes[: len(owned)], codes[len(owned) :]
    known, truth = (part[:, ::2, ::2].reshape(len(part), -1).astype(float) for part in (owned, secret))
    tries = []
    for penalty in (0.01, 0.1, 1.0, 10.0):
        way = np.linalg.solve(mine.T @ mine + penalty * np.eye(codes.shape[1]), mine.T @ (known - known.mean(0)))
        tries.append(others @ way + known.mean(0))
    best = min(tries, key=lambda rebuilt: ((rebuilt - truth) ** 2).mean())
    return best.reshape(-1, 64, 64)


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of every image (N, H, W) with every other (M, H, W): (N, M)."""
    flat = [part.reshape(len(part), -1).astype(float) for part in (a, b)]
    unit = [(x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) * np.sqrt(x.shape[1])) for x in flat]
    return unit[0] @ unit[1].T


def test_an_image_cannot_be_rebuilt_from_its_descriptor() -> None:
    owned, secret = bodies(300, start=20_000), bodies(40, start=50_000)
    mean = owned[:, ::2, ::2].mean(0)
    agreement = np.diag(correlations(attacked(owned, secret) - mean, secret[:, ::2, ::2] - mean))
    assert 0 < agreement.mean() < 0.5, "at most a quarter of what tells bodies apart may come back"


def test_a_rebuilt_radiograph_is_no_nearer_than_another_patients() -> None:
    files = {path.name.split("_")[0]: path for path in sorted(PUBLIC.rglob("person*.jp*g"))}
    if len(files) < 500:
        pytest.skip("the public radiographs are not in ../shared/data/chest_xray")
    opened = (Image.open(path).convert("L").resize((128, 128), 2) for path in list(files.values())[:500])
    images = np.stack([np.asarray(image) for image in opened])
    owned, secret = images[:440], images[440:]
    truth = secret[:, ::2, ::2]
    rebuilt = np.diag(correlations(attacked(owned, secret), truth))
    nearest_other = correlations(truth, owned[:, ::2, ::2]).max(1)
    assert rebuilt.mean() < nearest_other.mean() + 0.02
    fine = [part - ndimage.gaussian_filter(part.astype(float), (0, 1, 1)) for part in (attacked(owned, secret), truth)]
    assert np.diag(correlations(*fine)).mean() < 0.5, "edges, vessels and findings stay unknown"


def test_what_is_shipped_withholds_real_training_images() -> None:
    files = sorted(PUBLIC.rglob("*.jp*g"))[::130]
    if len(files) < 30 or "chest_xray_gan" not in registry.available():
        pytest.skip("the public radiographs are not in ../shared/data/chest_xray, or the generator is not in assets")
    seen = (prepare(read_scan(path.read_bytes(), at_least=VIA).display).image[..., 0] for path in files)
    images = np.stack([np.rint(255 * image).astype(np.uint8) for image in seen])
    shipped = Descriptors.from_arrays(load_arrays(registry.bundle("chest_xray_gan"), "descriptors"))
    found = shipped.nearest(images)
    trained = found.similarity >= MEMBER  # a tenth of the patients was kept out of training
    assert 0.75 < trained.mean() < 1 and found.withheld[trained].all() and not found.withheld[~trained].any()


def test_codes_hold_too_few_bits_for_an_image(descriptors: Descriptors) -> None:
    _, counts = np.unique(descriptors.known.codes, return_counts=True)
    share = counts / counts.sum()
    bits = -(share * np.log2(share)).sum() * descriptors.known.codes.shape[1]
    assert bits / 8 < 24, "bytes per image"


def test_sixteen_images_against_thousands_take_milliseconds(descriptors: Descriptors) -> None:
    rng = np.random.default_rng(0)
    codes = np.round(rng.normal(0, 3, (4700, 48))).astype(np.int8)
    many, images = Descriptors(Codes(codes, descriptors.known.signs), descriptors.reference, {}), bodies(16)
    many.nearest(images)
    took = []
    for _ in range(12):
        started = time.perf_counter()
        many.nearest(images)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.1, "60 ms on an idle machine"


def test_membership_is_betrayed_by_copies_and_not_by_strangers() -> None:
    train, held, groups = bodies(40), bodies(40, start=3000), np.arange(40).astype(str)
    copies = np.stack([COPIES["shifted"](image) for image in train[:30]])
    betrayed = membership_auc(train, held, copies, groups, groups)
    assert betrayed.value > 0.8 and betrayed.low > 0.7
    honest = membership_auc(train, held, bodies(30, start=9000), groups, groups)
    assert honest.low < 0.5 < honest.high


def test_membership_in_feature_space_is_an_auc_of_distances() -> None:
    train, held, made = np.array([[0.0], [3], [9]]), np.array([[1.0], [6]]), np.array([[0.0], [9]])
    # Distances 0, 3, 0 of the trained, 1 and 3 of the held out: of 6 pairs, 4 are nearer and 1 is a tie.
    found = membership_auc(train, held, made, ["a", "b", "c"], ["a", "b"])
    assert found.value == pytest.approx(4.5 / 6)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((2, 64, 64), np.uint8), "shape"),
        (np.zeros((2, 128, 128), np.float32), "8-bit"),
        (np.zeros((0, 128, 128), np.uint8), "shape"),
    ],
)
def test_other_images_are_refused(descriptors: Descriptors, images, problem) -> None:
    with pytest.raises(InputError, match=problem):
        descriptors.nearest(images)


def test_features_where_none_were_kept_are_refused(training) -> None:
    bare = Descriptors.build(training[:10], np.arange(10))
    with pytest.raises(InputError, match="Features must have shape"):
        bare.nearest(training[:2], np.zeros((2, 5)))
    with pytest.raises(InputError, match="two groups"):
        Descriptors.build(training[:3], ["a"] * 3)
