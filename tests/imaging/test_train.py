"""Splits, batches and members: nothing leaks, nothing depends on when a run was interrupted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_scans import tiny_recipe
from untraced import untraced

from medai_core.errors import InputError
from medai_core.imaging import train
from medai_core.imaging.network import average
from medai_core.imaging.train import Batches, split_scans

MODELS = ("chest_xray", "brain_mri")


@pytest.fixture(params=MODELS)
def split_case(request: pytest.FixtureRequest):
    scans = request.getfixturevalue("chest_scans" if request.param == "chest_xray" else "brain_scans")
    recipe = tiny_recipe(3 if request.param == "chest_xray" else 4, members=3)
    return request.param, scans, recipe, split_scans(request.param, scans, recipe)


# -------------------------------------------------------------------------------------------------- splits


def test_no_patient_or_duplicate_is_on_two_sides(split_case) -> None:
    _, scans, _, split = split_case
    sides = defaultdict(set)
    for group, test, fold in zip(scans.groups, split.test, split.fold, strict=True):
        sides[group].add("test" if test else int(fold))
    assert all(len(where) == 1 for where in sides.values())


def test_every_image_has_one_place(split_case) -> None:
    _, scans, recipe, split = split_case
    np.testing.assert_array_equal(split.fold == -1, split.test)
    assert set(split.fold[~split.test]) == set(range(recipe.members))
    assert 0.1 < split.test.mean() < 0.4
    assert set(scans.labels[split.test]) == set(range(len(recipe.shares)))


def test_the_same_seed_gives_the_same_split(split_case) -> None:
    model, scans, recipe, split = split_case
    again, other = split_scans(model, scans, recipe), split_scans(model, scans, replace(recipe, seed=21))
    np.testing.assert_array_equal(again.fold, split.fold)
    assert (other.test != split.test).any()


def test_chest_folds_are_contiguous_in_each_numbering(chest_scans) -> None:
    split = split_scans("chest_xray", chest_scans, tiny_recipe(3, members=3))
    for stream in np.unique(chest_scans.stream):
        mine = (chest_scans.stream == stream) & ~split.test
        in_order = split.fold[mine][np.argsort(chest_scans.order[mine], kind="stable")]
        assert (np.diff(in_order) >= 0).all() and set(in_order) == {0, 1, 2}


def test_recipes_answer_for_every_label() -> None:
    for model, recipe in train.RECIPES.items():
        assert recipe.network.classes == len(recipe.shares) == len(train.LABELS[model])
        assert sum(recipe.shares) == pytest.approx(1)


# ------------------------------------------------------------------------------------------------- batches


def batches_of(scans, **changes) -> Batches:
    return Batches(scans.images, scans.labels, tiny_recipe(3, **changes), seed=4)


def test_a_batch_depends_on_seed_epoch_and_index_alone(chest_scans) -> None:
    one, other = batches_of(chest_scans), batches_of(chest_scans)
    straight = [one[index][0] for index in range(3)]
    for index in (2, 0, 1):
        np.testing.assert_array_equal(other[index][0], straight[index])
    one.on_epoch_end()
    assert (one[0][0] != straight[0]).any()
    other.epoch = 1
    for mine, same in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(mine, same)
    assert (Batches(chest_scans.images, chest_scans.labels, tiny_recipe(3), seed=5)[0][0] != straight[0]).any()


def test_batches_hold_images_of_the_right_label(chest_scans) -> None:
    batches = batches_of(chest_scans, histogram_share=0.0, smoothing=0.1)
    images, targets = batches[0]
    assert images.shape == (8, 128, 128, 1) and images.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    assert set(np.unique(targets.round(4))) == {np.float32(0.0333), np.float32(0.9333)}
    for image, target in zip(images[..., 0], targets, strict=True):
        same = (chest_scans.images == np.round(image * 255)).all((1, 2))
        assert chest_scans.labels[same].tolist() == [target.argmax()]
    assert len(batches) == len(chest_scans.images) // 8


def test_the_shares_of_labels_are_the_recipe_s(chest_scans) -> None:
    recipe = replace(tiny_recipe(3, batch=64, histogram_share=0.0), shares=(0.7, 0.0, 0.3))
    batches = Batches(chest_scans.images, chest_scans.labels, recipe, 0)
    labels = np.concatenate([batches[index][1].argmax(1) for index in range(10)])
    np.testing.assert_allclose(np.bincount(labels, minlength=3) / len(labels), recipe.shares, atol=0.06)


def test_histograms_are_borrowed_as_often_as_asked(chest_scans) -> None:
    plain, mixed = (batches_of(chest_scans, histogram_share=share, batch=64)[0][0] for share in (0.0, 1.0))
    known = {image.tobytes() for image in chest_scans.images}
    assert all(np.round(image * 255).astype(np.uint8).tobytes() in known for image in plain)
    assert sum(np.round(image * 255).astype(np.uint8).tobytes() in known for image in mixed) < 10


# ------------------------------------------------------------------------------------------------- members


class Interrupted(Exception):
    pass


def test_bare_images_carry_no_label(chest_scans) -> None:
    images, targets = batches_of(chest_scans, histogram_share=0.0, bare_share=1.0, batch=16)[0]
    np.testing.assert_allclose(targets, 1 / 3)
    sharp = batches_of(chest_scans, histogram_share=0.0, batch=16)[0][0]
    assert (
        np.abs(np.diff(images[:, 40:90, 40:90], axis=2)).mean()
        < 0.5 * np.abs(np.diff(sharp[:, 40:90, 40:90], axis=2)).mean()
    )


def test_a_resumed_member_equals_an_uninterrupted_one(chest_scans, tmp_path: Path) -> None:
    recipe = tiny_recipe(3, epochs=3)
    use = np.arange(len(chest_scans.labels)) % 3 == 0
    heard: dict[str, list[int]] = {"straight": [], "resumed": []}

    def member(work: str, stop: int | None = None):
        def progress(line: dict[str, object]) -> None:
            heard[work].append(int(line["epoch"]))
            if line["epoch"] == stop:
                raise Interrupted

        (tmp_path / work).mkdir(exist_ok=True)
        return train.train_member(chest_scans, use, recipe, 0, tmp_path / work, progress)

    with untraced():
        straight = member("straight")
        with pytest.raises(Interrupted):
            member("resumed", stop=2)
        resumed = member("resumed")
    assert heard == {"straight": [1, 2, 3], "resumed": [1, 2, 3]}
    for one, other in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.isfinite(straight.get_weights()[0]).all()


def test_a_finished_member_is_loaded_and_in_float32(trained, chest_scans, brain_scans) -> None:
    work = trained.assets / "models" / "chest_xray.work"
    told: list[dict[str, object]] = []
    use = np.ones(len(chest_scans.labels), bool)
    member = train.train_member(chest_scans, use, tiny_recipe(3, precision="mixed_bfloat16"), 1, work, told.append)
    assert not told and {weight.dtype for weight in member.get_weights()} == {np.dtype(np.float32)}
    assert train.train_baseline(chest_scans, use, tiny_recipe(3), work, told.append).name == "baseline" and not told


def test_held_out_logits_come_from_who_never_saw_the_image(trained, chest_scans) -> None:
    work, recipe = trained.assets / "models" / "chest_xray.work", tiny_recipe(3)
    members, split, held_out, imitated = train.train_members("chest_xray", chest_scans, work, pytest.fail, recipe)
    everyone = [train.logits_of(average([member], recipe.margin), chest_scans.images) for member in members]
    for number, logits in enumerate(everyone):
        np.testing.assert_allclose(held_out[split.fold == number], logits[split.fold == number], atol=1e-5)
    np.testing.assert_allclose(held_out[split.test], np.mean(everyone, 0)[split.test], atol=1e-5)
    shipped = train.logits_of(average(members, recipe.margin), chest_scans.images)
    np.testing.assert_allclose(held_out[split.test], shipped[split.test], atol=1e-5)
    assert imitated.shape == held_out.shape and (imitated != held_out).any(1).mean() > 0.9


def test_each_epoch_is_reported(trained) -> None:
    parts = [line["part"] for line in trained.progress]
    assert parts[:3] == ["training_0", "training_1", "baseline"]
    assert {"part", "epoch", "of", "accuracy", "loss"} <= set(trained.progress[0])


def test_a_label_without_images_is_named(chest_scans, tmp_path: Path) -> None:
    no_virus = chest_scans.labels != 2
    fields = {name: getattr(chest_scans, name)[no_virus] for name in ("images", "labels", "groups", "order", "stream")}
    with pytest.raises(InputError, match="every label, got none of viral"):
        train.train_members("chest_xray", replace(chest_scans, **fields), tmp_path, print, tiny_recipe(3))
