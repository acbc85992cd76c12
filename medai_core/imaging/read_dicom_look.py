"""From stored to shown: what a DICOM header says about the values and the brightness of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.imaging.read_dicom_tags import printable
from medai_core.imaging.scan import apply_window

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LARGEST_RESCALE = 1e15  # values stay finite in float32
_FRAME_ITEMS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")


@dataclass(frozen=True)
class Lut:
    """A look-up table: ``entries[value - first]``, clipped at both ends (PS3.3 C.11.1.1)."""

    first: int
    entries: NDArray[np.integer]
    top: int

    def __call__(self, values: NDArray[np.generic]) -> NDArray[np.integer]:
        # pydicom's apply_modality_lut and apply_voi_lut wrap indices above 255 of 8-bit tables and cannot
        # take 12-bit modality tables; both exist in the field.
        index = np.rint(values).astype(np.int64) - self.first
        return self.entries[np.clip(index, 0, len(self.entries) - 1)]


@dataclass(frozen=True, eq=False)
class Look:
    """The modality and VOI transformations of one frame, its spacing and its padding.

    Attributes
    ----------
    rescale : tuple[float, float] or None
        Slope and intercept.
    window : tuple[float, float] or None
        Centre and width in modality units: the first when there are several.
    function : str
        ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID`` (PS3.3 C.11.2.1.2 and .3).
    padding : tuple[float, float] or None
        Lowest and highest stored value that is padding, not image.
    """

    rescale: tuple[float, float] | None
    modality_lut: Lut | None
    voi_lut: Lut | None
    window: tuple[float, float] | None
    function: str
    spacing_mm: tuple[float, float] | None
    padding: tuple[float, float] | None

    def modality(self, pixels: NDArray[np.generic]) -> tuple[NDArray[np.generic], list[Message]]:
        """Turn stored pixels (H, W) into modality values (H, W); the same array when nothing is to be done."""
        if self.modality_lut:
            return self.modality_lut(pixels), [say("modality LUT of {n} entries", n=len(self.modality_lut.entries))]
        if self.rescale in (None, (1, 0)):
            return pixels, []
        slope, intercept = self.rescale
        note = say(
            "rescale ×{slope} {intercept}",
            slope=f"{slope:g}".replace("-", "−"),
            intercept=f"{intercept:+g}".replace("-", "−"),
        )
        return (pixels * np.float64(slope) + intercept).astype(np.float32), [note]

    def voi(self, values: NDArray[np.generic]) -> tuple[NDArray[np.uint8] | None, tuple[float, float], Message | None]:
        """Map modality values to grey levels 0 to 255; None when the header says nothing usable.

        pydicom's ``apply_windowing`` is not used: it turns a negative rescale slope into an inverted picture.
        """
        if self.voi_lut:
            lut = self.voi_lut
            shown = np.rint(lut(values) * (255.0 / lut.top)).astype(np.uint8)
            width = float(len(lut.entries))
            return shown, (lut.first + width / 2, width), say("VOI LUT of {n} entries", n=len(lut.entries))
        if not self.window:
            return None, (0.0, 0.0), None
        centre, width = self.window
        note = say("window {width}/{level}", width=f"{width:g}", level=f"{centre:g}".replace("-", "−"))
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values.astype(np.float64) - centre) / width, -500, 500)
            return np.rint(255 / (1 + np.exp(exponent))).astype(np.uint8), self.window, note
        exact = self.function == "LINEAR_EXACT"
        middle, half = (centre, width / 2) if exact else (centre - 0.5, (width - 1) / 2)
        return apply_window(values, middle - half, middle + half), self.window, note

    @property
    def curved(self) -> bool:
        """Whether :meth:`voi` draws grey levels from a table or a sigmoid, which no linear window equals."""
        return self.voi_lut is not None or (self.window is not None and self.function == "SIGMOID")

    def not_padding(self, pixels: NDArray[np.generic]) -> NDArray[np.bool_] | None:
        """(H, W), False where a stored pixel is padding; None when the header names none (PS3.3 C.7.5.1.1.2)."""
        if self.padding is None:
            return None
        return (pixels < self.padding[0]) | (pixels > self.padding[1])


def find_look(ds: Dataset, frame: int) -> Look:
    """Collect the transformations of one frame from the data set and its functional groups.

    Raises
    ------
    InputError
        If the rescale values are there but are no numbers: without them the pixels mean something else.
    """
    scopes = _scopes(ds, frame)
    spacings = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    spacing = next((s for name in spacings if len(s := _numbers(scopes, name)) == 2 and min(s) > 0), None)
    function = str(_first(scopes, "VOILUTFunction") or "LINEAR").upper()
    rescale = _rescale(scopes)
    signed = ds.get("PixelRepresentation") == 1
    return Look(
        rescale=rescale,
        modality_lut=_lut(ds, scopes, "ModalityLUTSequence", signed),
        voi_lut=_lut(ds, scopes, "VOILUTSequence", signed or bool(rescale and rescale[1] < 0)),
        window=_window(scopes, function),
        function=function,
        spacing_mm=tuple(spacing) if spacing else None,
        padding=_padding(ds),
    )


def element_text(ds: Dataset, keyword: str, sequence: str = "") -> str | None:
    """Value of a text element, or the meaning of the first code of a sequence; None when neither is there."""
    value = ds.get(keyword)
    if not value and sequence and ds.get(sequence):
        value = ds[sequence][0].get("CodeMeaning")
    return printable(str(value), 64) or None if value else None


def _scopes(ds: Dataset, frame: int) -> list[Dataset]:
    """Where to look for an element: this frame's functional groups, the shared ones, the data set itself."""
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*per_frame[frame : frame + 1], *(ds.get("SharedFunctionalGroupsSequence") or [])[:1]]
    return [*(item for group in groups for name in _FRAME_ITEMS for item in (group.get(name) or [])[:1]), ds]


def _first(scopes: list[Dataset], keyword: str) -> object | None:
    for scope in scopes:
        try:
            value = scope.get(keyword)
        except (ValueError, TypeError):  # converted on access; "1,5" is no DICOM number
            continue
        if value is not None and value != "":
            return value
    return None


def _numbers(scopes: list[Dataset], keyword: str) -> list[float]:
    value = _first(scopes, keyword)
    if value is None or isinstance(value, bytes):  # bytes: written with an unknown value representation
        return []
    values = [value] if isinstance(value, (int, float, str)) else list(value)
    try:
        numbers = [float(v) for v in values]
    except (ValueError, TypeError):
        return []
    return numbers if np.isfinite(numbers).all() else []


def _rescale(scopes: list[Dataset]) -> tuple[float, float] | None:
    slope, intercept = _numbers(scopes, "RescaleSlope")[:1], _numbers(scopes, "RescaleIntercept")[:1]
    for name, found in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        present = any(name in scope and scope.get_item(name).value for scope in scopes)
        if (present and not found) or (found and abs(found[0]) > _LARGEST_RESCALE):
            raise InputError("The DICOM element {name} holds no usable number.", name=name)
    if not slope and not intercept:
        return None
    slope_value, intercept_value = (slope or [1.0])[0], (intercept or [0.0])[0]
    return (slope_value, intercept_value) if slope_value else None


def _window(scopes: list[Dataset], function: str) -> tuple[float, float] | None:
    centre, width = _numbers(scopes, "WindowCenter")[:1], _numbers(scopes, "WindowWidth")[:1]
    lowest = 1 if function == "LINEAR" else 0
    if not centre or not width or width[0] < lowest or width[0] <= 0:
        return None
    return centre[0], width[0]


def _lut(ds: Dataset, scopes: list[Dataset], sequence: str, signed: bool) -> Lut | None:
    item = (_first(scopes, sequence) or [None])[0]
    if item is None or not item.get("LUTDescriptor") or item.get("LUTData") is None:
        return None
    count, first, bits = (int(v) for v in item.LUTDescriptor)
    count = count or 65536
    if signed and first > 32767:  # written as unsigned although the values it is compared with are signed
        first -= 65536
    data = item.LUTData
    if isinstance(data, bytes):
        little = ds.file_meta.TransferSyntaxUID.is_little_endian
        packed = np.uint8 if len(data) == count else np.dtype(np.uint16).newbyteorder("<" if little else ">")
        entries = np.frombuffer(data, dtype=packed, count=count)
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.int64))[:count] & 0xFFFF
    if not entries.size:
        return None
    entries = entries.astype(np.uint16)
    return Lut(first, entries, max(2 ** min(bits, 16) - 1, int(entries.max()), 1))


def _padding(ds: Dataset) -> tuple[float, float] | None:
    value = _numbers([ds], "PixelPaddingValue")[:1]
    limit = _numbers([ds], "PixelPaddingRangeLimit")[:1] or value
    return (min(value + limit), max(value + limit)) if value else None
