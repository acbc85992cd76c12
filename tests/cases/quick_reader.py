"""Stands in for the scan models: answers at once, by what the bytes hold, and imports no network library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from medai_core.errors import InputError, MedAIError, say
from medai_core.imaging.reading import Reading


class QuickReader:
    """Refuses what holds ``refuse``, cannot read what holds ``broken``, fails on what holds ``crash``."""

    def read_many(self, items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Reading | MedAIError]]:
        for name, data in items:
            yield name, self._one(data)

    def _one(self, data: bytes) -> Reading | MedAIError:
        if b"crash" in data:
            raise RuntimeError("a text that quotes the file")
        if b"broken" in data:
            return InputError("The file is damaged.")
        if b"refuse" in data:
            return Reading("refused", "blank", say("The image is blank."), "0" * 64)
        share = 0.9 if b"urgent" in data else 0.2
        return Reading(
            "read", "ok", None, "0" * 64, model="chest_xray", version="1.0.0",
            label="viral" if share > 0.5 else "normal",
            probabilities={"normal": 1 - share, "viral": share}, prediction_set=("viral",), urgency=share,
        )  # fmt: skip
