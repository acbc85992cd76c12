"""Exact interventional SHAP values of models with a Gaussian kernel.

The kernel is a product over features, so against one background row each support vector plays a product game, whose
Shapley values are an integral of a polynomial over [0, 1] (Owen 1972, Management Science 18:64; for product kernels
see Mohammadi et al. 2025, PKeX-Shapley). Gauss-Legendre quadrature is exact with half as many nodes as there are
features; far fewer do for smooth kernels. A row whose values do not add up with those, far from the support vectors,
is given more, up to the number that is exact.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from medai_core.settings import settings

Matrix = NDArray[np.float64]
NODES = (3, 4, 6, 8, 12, 16, 24, 32)
CLOSE, ACCEPTED = 1e-8, 1e-6
"""Largest additivity error of background rows, and of any row, as a share of the spread of the predictions."""

FEW_ROWS = 8
LEAST_POWER = -600.0
"""Keeps factors of rows far from every support vector above 0, so that they can be divided by."""


class KernelShap:
    """Exact SHAP values of ``sum_i dual_i exp(-gamma |z - z_i|^2) + intercept`` against a background.

    Parameters
    ----------
    support : Matrix, shape (S, M)
        Support vectors in design columns.
    dual : Matrix, shape (K, S)
    intercept : NDArray, shape (K,)
    gamma : float
    owner : NDArray[np.intp], shape (M,)
        The feature each design column belongs to: its columns enter and leave together.
    background : Matrix, shape (B, M)
    width : int
        Number of features D.
    """

    def __init__(
        self, support: Matrix, dual: Matrix, intercept: NDArray[np.float64], gamma: float,
        owner: NDArray[np.intp], background: Matrix, width: int,
    ) -> None:  # fmt: skip
        self.support, self.dual, self.gamma, self.owner, self.width = support, dual, gamma, owner, width
        self.intercept = intercept
        self._absent = self._factors(background)  # (D, S, B)
        self._whole = self._absent.prod(axis=0)  # (S, B)
        self.base_values = (dual @ self._whole).mean(axis=1) + intercept
        self._spread = max(float(np.ptp(dual @ self._whole)), 1e-9)
        self._nodes = self._enough(background)

    def _factors(self, z: Matrix) -> NDArray[np.float64]:
        """What each feature of each row multiplies each support vector's kernel by, (D, S, N)."""
        powers = np.zeros((self.width, len(self.support), len(z)))
        for column, feature in enumerate(self.owner):
            powers[feature] -= self.gamma * np.subtract.outer(self.support[:, column], z[:, column]) ** 2
        return np.exp(np.maximum(powers, LEAST_POWER, out=powers), out=powers)

    def _enough(self, background: Matrix) -> int:
        """The fewest nodes that make the values of some background rows add up."""
        rows = background[:: max(1, len(background) // 3)][:3]
        present = self._factors(rows)
        for nodes in self._from(0)[:-1]:
            gap = max(self._gap(self._one(present[:, :, k], nodes), present[:, :, k]) for k in range(len(rows)))
            if gap <= CLOSE * self._spread:
                return nodes
        return self._from(0)[-1]

    def _from(self, least: int) -> list[int]:
        """Numbers of nodes, from one on; the last is exact."""
        exact = (self.width + 1) // 2
        return [nodes for nodes in NODES if least <= nodes < exact] + [exact]

    def _gap(self, values: Matrix, present: Matrix) -> float:
        """How far the values (D, K) of one row are from adding up."""
        wanted = self.dual @ present.prod(axis=0) + self.intercept - self.base_values
        return float(np.abs(values.sum(axis=0) - wanted).max())

    def _one(self, present: Matrix, nodes: int) -> Matrix:
        """Values (D, K) of one row from its factors (D, S)."""
        steps, weights = np.polynomial.legendre.leggauss(nodes)
        change = present[:, :, None] - self._absent  # (D, S, B)
        found = np.zeros((self.width, len(self.dual)))
        mixed = np.empty_like(change)
        for step, weight in zip((steps + 1) / 2, weights / 2, strict=True):
            np.multiply(change, step, out=mixed)
            mixed += self._absent
            whole = mixed.prod(axis=0)  # (S, B)
            np.divide(change, mixed, out=mixed)
            np.multiply(mixed, whole, out=mixed)
            found += weight * mixed.mean(axis=2) @ self.dual.T
        return found

    def __call__(self, z: Matrix) -> NDArray[np.float64]:
        """SHAP values (N, D, K) of design rows (N, M)."""
        if not len(z):
            return np.zeros((0, self.width, len(self.dual)))

        def one(row: Matrix) -> Matrix:
            present = self._factors(row[None])[:, :, 0]
            for nodes in self._from(self._nodes):
                found = self._one(present, nodes)
                if self._gap(found, present) <= ACCEPTED * self._spread:
                    break
            return found

        if len(z) < FEW_ROWS:
            return np.array([one(row) for row in z])
        with ThreadPoolExecutor(settings().threads or os.cpu_count()) as pool:  # NumPy lets go of the interpreter
            return np.array(list(pool.map(one, z)))
