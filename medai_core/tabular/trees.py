"""Trees as arrays: forests of scikit-learn and LightGBM in one form, answered for a few rows in well under 5 ms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import lightgbm

Matrix = NDArray[np.float64]
ROWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class TreeTable:
    """A sum of trees.

    Attributes
    ----------
    roots : NDArray[np.intp], shape (T,)
        First node of each tree.
    feature, left, right : NDArray[np.intp], shape (nodes,)
        A leaf leads to itself.
    threshold : NDArray[np.float64], shape (nodes,)
        A row goes left where ``x <= threshold``.
    missing_left : NDArray[np.bool_], shape (nodes,)
        Where a row goes whose value is NaN.
    value : NDArray[np.float64], shape (nodes, K)
        What a leaf adds to each output.
    depth : int
        Of the deepest tree.
    single : bool
        Whether rows are compared in single precision, as scikit-learn does.
    """

    roots: NDArray[np.intp]
    feature: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    value: Matrix
    depth: int
    single: bool

    def cast(self, x: Matrix) -> Matrix:
        """Values as the trees compare them."""
        return x.astype(np.float32).astype(np.float64) if self.single else x

    def __call__(self, x: Matrix) -> Matrix:
        """Outputs (N, K) of rows (N, D)."""
        x = self.cast(x)
        parts = [self._some(x[k : k + ROWS_AT_ONCE]) for k in range(0, len(x), ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self.value.shape[1]))

    def _some(self, x: Matrix) -> Matrix:
        node = np.broadcast_to(self.roots, (len(x), len(self.roots)))  # (n, T)
        rows = np.arange(len(x))[:, None]
        for _ in range(self.depth):
            given = x[rows, self.feature[node]]
            goes_left = np.where(np.isnan(given), self.missing_left[node], given <= self.threshold[node])
            node = np.where(goes_left, self.left[node], self.right[node])
        return self.value[node].sum(axis=1)

    @property
    def leaves(self) -> int:
        return int((self.left == np.arange(len(self.left))).sum())


def from_forest(forest: Any) -> TreeTable:
    """Of a scikit-learn random forest: shares of the classes, of two the second alone; or values."""
    each = [tree.tree_ for tree in forest.estimators_]
    start = np.cumsum([0, *(tree.node_count for tree in each)])
    value = np.concatenate([tree.value[:, 0, :] for tree in each])  # (nodes, K)
    if hasattr(forest, "classes_"):
        value = value / value.sum(axis=1, keepdims=True)
        value = value[:, 1:] if value.shape[1] == 2 else value
    left, right, feature, threshold = (
        np.concatenate([getattr(tree, name) for tree in each])
        for name in ("children_left", "children_right", "feature", "threshold")
    )
    offset = np.repeat(start[:-1], [tree.node_count for tree in each])
    leaf, own = left < 0, np.arange(len(left))
    return TreeTable(
        start[:-1],
        np.where(leaf, 0, feature).astype(np.intp),
        np.where(leaf, own, left + offset),
        np.where(leaf, own, right + offset),
        np.where(leaf, np.inf, threshold),
        np.concatenate([tree.missing_go_to_left for tree in each]).astype(bool),
        value * leaf[:, None] / len(each),
        max(tree.max_depth for tree in each),
        single=True,
    )


def from_booster(booster: lightgbm.Booster) -> TreeTable:
    """Of a LightGBM model: raw scores, one output per class (one for two classes)."""
    dump = booster.dump_model()
    outputs, rows, roots, deepest = dump["num_tree_per_iteration"], [], [], 0
    for k, tree in enumerate(dump["tree_info"]):
        roots.append(len(rows))
        deepest = max(deepest, _flatten(tree["tree_structure"], rows, k % outputs))
    columns = list(zip(*rows, strict=True))
    feature, left, right = (np.array(column, np.intp) for column in columns[:3])
    value = np.zeros((len(rows), outputs))
    value[np.arange(len(rows)), np.array(columns[6])] = columns[5]
    threshold, missing = np.array(columns[3], float), np.array(columns[4], bool)
    return TreeTable(np.array(roots), feature, left, right, threshold, missing, value, deepest, single=False)


def _flatten(node: dict[str, Any], rows: list[list[Any]], output: int) -> int:
    """Add a node and what is below it: feature, left, right, threshold, missing_left, value, output; its depth."""
    here = len(rows)
    if "leaf_value" in node:
        rows.append([0, here, here, np.inf, True, node["leaf_value"], output])
        return 0
    # Without missing values in training LightGBM takes a missing one as 0.
    missing = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
    rows.append([node["split_feature"], 0, 0, node["threshold"], missing, 0.0, output])
    rows[here][1] = len(rows)
    deepest = _flatten(node["left_child"], rows, output)
    rows[here][2] = len(rows)
    return 1 + max(deepest, _flatten(node["right_child"], rows, output))


@dataclass(frozen=True, eq=False)
class Leaves:
    """Leaves whose paths ask about the same number k of features, as boxes.

    Attributes
    ----------
    feature : NDArray[np.intp], shape (L, k)
    low, high : NDArray[np.float64], shape (L, k)
        A value is inside where ``low < x <= high``.
    missing : NDArray[np.bool_], shape (L, k)
        Whether NaN is inside.
    value : NDArray[np.float64], shape (L, K)
    """

    feature: NDArray[np.intp]
    low: Matrix
    high: Matrix
    missing: NDArray[np.bool_]
    value: Matrix

    def pattern(self, x: Matrix) -> NDArray[np.intp]:
        """Which sides of each box a row is inside of, as bits: (N, L)."""
        found = np.zeros((len(x), len(self.feature)), np.intp)
        for j in range(self.feature.shape[1]):
            given = x[:, self.feature[:, j]]
            inside = (given > self.low[:, j]) & (given <= self.high[:, j]) | np.isnan(given) & self.missing[:, j]
            found |= inside.astype(np.intp) << j
        return found


def leaves_of(trees: TreeTable) -> list[Leaves]:
    """All leaves by the number of features their paths ask about; leaves at a root (no question) are left out."""
    by_size: dict[int, list[tuple[dict[int, list[Any]], int]]] = {}
    for root in trees.roots:
        for leaf, box in _boxes(trees, int(root)):
            if box:
                by_size.setdefault(len(box), []).append((box, leaf))
    found = []
    for _, members in sorted(by_size.items()):
        feature = np.array([list(box) for box, _ in members], np.intp)
        low, high = (np.array([[side[k] for side in box.values()] for box, _ in members], float) for k in (0, 1))
        missing = np.array([[side[2] for side in box.values()] for box, _ in members], bool)
        found.append(Leaves(feature, low, high, missing, trees.value[[leaf for _, leaf in members]]))
    return found


def _boxes(trees: TreeTable, root: int) -> Iterator[tuple[int, dict[int, list[Any]]]]:
    waiting: list[tuple[int, dict[int, list[Any]]]] = [(root, {})]
    while waiting:
        node, box = waiting.pop()
        left = int(trees.left[node])
        if left == node:
            yield node, box
            continue
        feature, cut = int(trees.feature[node]), float(trees.threshold[node])
        to_left = bool(trees.missing_left[node])
        low, high, missing = box.get(feature, [-np.inf, np.inf, True])
        waiting.append((left, box | {feature: [low, min(high, cut), missing and to_left]}))
        waiting.append((int(trees.right[node]), box | {feature: [max(low, cut), high, missing and not to_left]}))
