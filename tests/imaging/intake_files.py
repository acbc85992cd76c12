"""Files for the intake's tests: made here, or bundled with pydicom. Nothing is downloaded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"


def bundled(name: str) -> bytes:
    return (BUNDLED / name).read_bytes()


def bundled_names(at_most_bytes: int) -> list[str]:
    files = sorted(path for path in BUNDLED.glob("*.dcm") if path.stat().st_size <= at_most_bytes)
    return [path.name for path in files]


def ramp(dtype: type = np.uint8, shape: tuple[int, int] = (24, 40), low: int = 0, high: int = 255) -> np.ndarray:
    """A picture that is different under every flip and turn, from ``low`` to ``high``."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    steps = (rows * shape[1] + columns).astype(float) / (shape[0] * shape[1] - 1)
    return np.rint(low + steps * (high - low)).astype(dtype)


def dataset(
    pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, bits: int | None = None, **elements: object
) -> Dataset:
    """A minimal DICOM image; ``pixels`` is (H, W), (H, W, 3) or, with NumberOfFrames, (frames, H, W)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CR_IMAGE
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    colour = pixels.shape[-1] == 3 and pixels.ndim > 2
    frames = "NumberOfFrames" in elements
    ds.Rows, ds.Columns = pixels.shape[1:3] if frames else pixels.shape[:2]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = pixels.tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def saved(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom(pixels: np.ndarray, **arguments: object) -> bytes:
    return saved(dataset(pixels, **arguments))


def lut_item(entries: list[int] | np.ndarray, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = [int(entry) for entry in entries]
    item["LUTData"].VR = "US"
    return item


def raster(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def colourful(shape: tuple[int, int] = (24, 40)) -> np.ndarray:
    grey = ramp(shape=shape)
    return np.stack([grey, grey[::-1], 255 - grey], axis=2)
