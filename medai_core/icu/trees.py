"""Gradient-boosted trees on the summary features: two kinds for each anchor hour, in LightGBM's text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import ArtifactError
from medai_core.icu.blend import ANCHORS, anchor_weights
from medai_core.icu.features import FEATURES
from medai_core.settings import settings

if TYPE_CHECKING:
    import lightgbm


MANY = 16
"""Stays from which on several threads are worth their start."""
SEEDS = dict.fromkeys(ANCHORS, {"greedy": 1, "random": 1}) | {ANCHORS[-1]: {"greedy": 2, "random": 4}}
"""How many sets of trees, by hour and kind. `greedy` seeks its splits among all values, `random` among a few
random ones; sets of one kind are alike but for their seed: most at the last hour, which has most to go by.
The logits of all sets of an hour are averaged."""
FILES = {
    (hour, kind, number): f"trees_{hour:02d}_{kind}_{number}.txt"
    for hour, kinds in SEEDS.items()
    for kind, count in kinds.items()
    for number in range(1, count + 1)
}


class Trees:
    """Logits at every hour from the trees of the two anchor hours around it.

    Parameters
    ----------
    texts : mapping
        LightGBM's text of each anchor hour, kind and number.
    """

    def __init__(self, texts: Mapping[tuple[int, str, int], str]) -> None:
        import lightgbm

        if set(texts) != set(FILES):
            raise ArtifactError(
                "Trees must be there for the hours {hours}, got {got}",
                hours=ANCHORS,
                got=sorted({h for h, *_ in texts}),
            )
        try:
            self._boosters = {key: lightgbm.Booster(model_str=text) for key, text in texts.items()}
        except lightgbm.basic.LightGBMError as error:
            raise ArtifactError("The trees cannot be loaded: {error}", error=str(error)) from error
        for (hour, *_), booster in self._boosters.items():
            _check(hour, booster)
        self._weights = anchor_weights()

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits (N, 48) from features (N, 48, F)."""
        logits = np.zeros(rows.shape[:2])
        threads = settings().threads if len(rows) >= MANY else 1
        for k, anchor in enumerate(ANCHORS):
            at = np.flatnonzero(self._weights[:, k] > 0)
            known = rows[:, at].reshape(-1, rows.shape[-1])
            logits[:, at] += self._weights[at, k] * self._of(anchor, known, threads).reshape(len(rows), at.size)
        return logits

    def at_hour(self, hour: int, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits (N,) at one hour, 1 to 48, from the features (N, F) of that hour."""
        threads = settings().threads if len(rows) >= MANY else 1
        weights = zip(ANCHORS, self._weights[hour - 1], strict=True)
        return sum(weight * self._of(anchor, rows, threads) for anchor, weight in weights if weight > 0)

    def _of(self, anchor: int, rows: NDArray[np.float32], threads: int) -> NDArray[np.float64]:
        """Logits (R,) of one anchor's trees from rows (R, F)."""
        mine = [booster for (hour, *_), booster in self._boosters.items() if hour == anchor]
        return np.mean([booster.predict(rows, raw_score=True, num_threads=threads) for booster in mine], axis=0)


def _check(hour: int, booster: lightgbm.Booster) -> None:
    if booster.num_feature() != len(FEATURES):
        raise ArtifactError(
            "The trees of hour {hour} must take {wanted} features, got {got}",
            hour=hour,
            wanted=len(FEATURES),
            got=booster.num_feature(),
        )
