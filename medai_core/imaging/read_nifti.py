"""NIfTI volumes to a :class:`Scan`: one upright slice in radiological convention."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.imaging.read_limits import check_frame, check_pixels
from medai_core.imaging.scan import Scan, apply_window, auto_window, finite
from medai_core.settings import settings

if TYPE_CHECKING:
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.nifti1 import Nifti1Header

PLANES = ("sagittal", "coronal", "axial")
"""By the canonical axis (right, anterior, superior) that each plane stands upright on."""
_HEADER_BYTES = 540  # of NIfTI-2, the longer one
_ANISOTROPIC = 1.5
_MM = {1: 1000.0, 3: 0.001}
"""Per unit of length of ``xyzt_units``: metre, micrometre. Millimetre is 2; what states none means it as well."""


@dataclass(frozen=True, eq=False)
class _Volume:
    proxy: ArrayProxy
    shape: tuple[int, int, int]  # in the order of the file
    spacing: tuple[float, float, float]
    orientation: NDArray[np.float64]  # (3, 2): canonical axis and direction of each file axis


def read_nifti(data: bytes, digest: str, frame: int | None, plane: str | None) -> Scan:
    """Read one slice of a NIfTI-1 or NIfTI-2 file; only that slice is scaled to floats.

    Shown as a radiologist stands before the patient: right side of the patient on the left (axial, coronal),
    front on the left (sagittal), front up (axial), head up (coronal, sagittal).

    Parameters
    ----------
    data : bytes
        ``.nii`` or ``.nii.gz``.
    digest : str
        SHA-256 of ``data``.
    frame : int or None
        Slice along the plane's axis, counted from the left, back or foot of the patient; None is the middle.
    plane : {"axial", "coronal", "sagittal"} or None
        None is axial, or the plane of acquisition when the slices are thick.

    Raises
    ------
    InputError
        Damaged, beyond a limit, or with values that are no plain numbers.
    """
    volume = _open(data)
    canonical = [int(axis) for axis in volume.orientation[:, 0]]  # canonical axis of each file axis
    size = {PLANES[canonical[i]]: volume.shape[i] for i in range(3)}
    thickness = {PLANES[canonical[i]]: volume.spacing[i] for i in range(3)}
    planes = tuple(name for name in reversed(PLANES) if all(size[other] > 1 for other in PLANES if other != name))
    if not planes:
        raise InputError("The NIfTI volume of {shape} voxels has no plane to show.", shape=_times(volume.shape))
    plane = _chosen_plane(plane, planes, thickness)
    frame = check_frame(frame, size[plane] // 2, size[plane])
    values = _slice(volume, canonical.index(PLANES.index(plane)), frame, canonical)
    low, high = auto_window(values)
    rows, columns = _in_plane(plane)
    return Scan(
        stored=values,
        display=apply_window(values, low, high),
        window=((low + high) / 2, high - low),
        kind="NIfTI",
        digest=digest,
        full_shape=values.shape,
        frame=frame,
        frames=size[plane],
        plane=plane,
        planes=planes,
        spacing_mm=(thickness[rows], thickness[columns]),
        trace=_trace(volume.proxy, volume.shape, plane, frame, size[plane]),
    )


def _trace(proxy: ArrayProxy, shape: tuple[int, ...], plane: str, frame: int, frames: int) -> tuple[Message, ...]:
    trace = [say("NIfTI volume of {shape} voxels, {dtype}", shape=_times(shape), dtype=str(proxy.dtype))]
    volumes = int(np.prod(proxy.shape[3:]))
    if volumes > 1:
        trace.append(say("first of {total} volumes", total=volumes))
    if (proxy.slope, proxy.inter) != (1, 0):
        slope, intercept = f"{proxy.slope:g}".replace("-", "−"), f"{proxy.inter:+g}".replace("-", "−")
        trace.append(say("rescale ×{slope} {intercept}", slope=slope, intercept=intercept))
    trace.append(say("{plane} slice {number} of {total}", plane=plane, number=frame + 1, total=frames))
    trace.append(say("no window: 1st to 99th percentile shown"))
    return tuple(trace)


def _in_plane(plane: str) -> tuple[str, str]:
    """The planes whose axes run down the rows and along the columns of a slice."""
    return {
        "axial": ("coronal", "sagittal"),
        "coronal": ("axial", "sagittal"),
        "sagittal": ("axial", "coronal"),
    }[plane]


def _chosen_plane(plane: str | None, planes: tuple[str, ...], thickness: dict[str, float]) -> str:
    if plane is not None:
        if plane not in planes:
            raise InputError(
                "`plane` must be one of {planes}, got {plane}", planes=", ".join(planes), plane=repr(plane)
            )
        return plane
    thickest = max(planes, key=lambda name: thickness[name])
    thick = thickness[thickest] > _ANISOTROPIC * min(thickness[name] for name in planes)
    return thickest if thick else planes[0]


def _slice(volume: _Volume, file_axis: int, frame: int, canonical: list[int]) -> NDArray[np.float32]:
    flipped = volume.orientation[:, 1] < 0
    at = volume.shape[file_axis] - 1 - frame if flipped[file_axis] else frame
    index: list[slice | int] = [slice(None)] * 3 + [0] * (len(volume.proxy.shape) - 3)
    index[file_axis] = at
    picture = np.asarray(volume.proxy[tuple(index)])  # 2-D, the two other file axes in their order
    rest = [i for i in range(3) if i != file_axis]
    picture = picture[tuple(slice(None, None, -1 if flipped[i] else 1) for i in rest)]
    if canonical[rest[0]] > canonical[rest[1]]:
        picture = picture.T
    # Now (lower canonical axis, higher canonical axis), both growing; shown with both falling.
    return finite(np.ascontiguousarray(picture.T[::-1, ::-1]))


def _open(data: bytes) -> _Volume:
    import nibabel
    from nibabel.arrayproxy import ArrayProxy

    packed = data[:2] == b"\x1f\x8b"
    head = gzip.GzipFile(fileobj=io.BytesIO(data)).read(_HEADER_BYTES) if packed else data[:_HEADER_BYTES]
    second = head[4:8] == b"n+2\0"
    header = (nibabel.Nifti2Header if second else nibabel.Nifti1Header).from_fileobj(io.BytesIO(head), check=False)
    shape = tuple(int(n) for n in header.get_data_shape())
    shape = (*shape, 1, 1, 1)[: max(3, len(shape))]
    if len(shape) > 7 or min(shape) < 1:
        raise InputError("The NIfTI file is damaged: {shape} voxels make no volume.", shape=_times(shape))
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError("NIfTI values of type {dtype} cannot be shown; save the volume as float32.", dtype=str(dtype))
    end = _first_volume_end(header, shape, dtype)
    volume = _inflate(data, end, whole=len(shape) == 3) if packed else data
    if len(volume) < end:
        raise InputError("The NIfTI file is cut off: it ends before its volume does.")
    header.set_data_shape(shape)
    orientation = nibabel.io_orientation(header.get_best_affine())
    if np.isnan(orientation).any():
        raise InputError("The NIfTI file is damaged: its orientation is no orientation.")
    unit = _MM.get(int(header["xyzt_units"]) % 8, 1.0)
    spacing = [abs(float(zoom)) * unit for zoom in (*header.get_zooms(), 1.0, 1.0)[:3]]
    return _Volume(
        ArrayProxy(io.BytesIO(volume), header),
        shape[:3],
        tuple(mm if np.isfinite(mm) and mm > 0 else 1.0 for mm in spacing),
        orientation,
    )


def _first_volume_end(header: Nifti1Header, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of the file up to the end of the first volume, after checking them against the limits."""
    for a, b in ((0, 1), (0, 2), (1, 2)):
        check_pixels(shape[a], shape[b])
    size = shape[0] * shape[1] * shape[2] * dtype.itemsize
    limit = settings().max_file_mb
    if size > limit * 1_000_000:
        raise InputError(
            "The NIfTI volume of {shape} voxels is larger than the {limit} MB read here.",
            shape=_times(shape[:3]),
            limit=limit,
        )
    offset = int(header.get_data_offset())
    if not 0 <= offset <= 100_000_000:
        raise InputError("The NIfTI file is damaged: its voxels start at byte {offset}.", offset=offset)
    return offset + size


def _inflate(data: bytes, end: int, whole: bool) -> bytes:
    """The first ``end`` bytes of a gzip stream; read to its end, where its checksum is, if that is close."""
    stream = gzip.GzipFile(fileobj=io.BytesIO(data))
    volume = stream.read(end)
    if whole:
        stream.read(1 << 20)
    return volume


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)
