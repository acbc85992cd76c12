"""Near-copies under other names are found: mirrored, moved, compressed, and through a chain of others."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_bodies import COPIES, bodies, draw_body

from medai_core.errors import InputError
from medai_core.likeness import COPY, closest, joined_groups


def test_copies_under_other_names_are_joined() -> None:
    images = bodies(8)
    images = np.concatenate(
        [images, [COPIES["mirrored, shifted and compressed"](images[2]), COPIES["shifted"](images[5])]]
    )
    groups = np.array([f"g{k}" for k in range(10)])
    joined = joined_groups(images, groups)
    assert joined[8] == joined[2] and joined[9] == joined[5] and len(set(joined)) == 8
    assert set(joined) <= set(groups)
    # A chain through groups that were given is followed too.
    linked = joined_groups(images, np.array(["a", "b", "c", "c", "e", "f", "g", "h", "i", "b"]))
    assert len({linked[1], linked[5], linked[9]}) == 1 and linked[2] == linked[3] == linked[8]


def test_a_chain_of_copies_is_one_group_though_its_ends_are_apart() -> None:
    share = np.linspace(0, 1, 6)[:, None, None]
    chain = np.round((1 - share) * draw_body(1) + share * draw_body(2)).astype(np.uint8)
    near = [closest(chain[k : k + 1], chain[k + 1 : k + 2])[0] for k in range(5)]
    assert min(near) > COPY > closest(chain[:1], chain[5:])[0]
    images = np.concatenate([chain, bodies(4, start=50)])
    order = np.random.default_rng(0).permutation(10)
    names = joined_groups(images[order])
    assert len(set(names)) == 5 and len(set(names[order < 6])) == 1


def test_blank_images_are_no_copies_of_each_other() -> None:
    assert len(set(joined_groups(np.full((3, 128, 128), 7, np.uint8)))) == 3


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"8-bit and of shape \(N, 128, 128\)"):
        joined_groups(np.zeros((2, 64, 64), np.uint8))
