"""Synthetic images as files: every one says three times that it is synthetic.

An image carries the visible mark, metadata in standard fields, and the invisible watermark (:mod:`medai_core.marks`).
``clean=True`` leaves out the visible mark, for training networks on the images; the other two always stay.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from medai_core import __version__, marks
from medai_core.errors import InputError

if TYPE_CHECKING:
    from medai_core.synthesis.generator import SyntheticImage

KINDS = {"png": "png", "dicom": "dcm"}
"""Name of a format → extension of its files."""
README = (
    "Every image in this archive is synthetic: it was made by a generator (MedAI) and shows no patient.\n"
    "Each carries an invisible watermark and says so in its metadata. They are for teaching, demonstration and\n"
    "research, never for diagnosis. labels.csv lists label, seed and settings of each file; the same settings make\n"
    "the same image again.\n"
)
COLUMNS = ("file", "label", "seed", "index", "truncation", "model", "version")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the same images make the same archive


def marked(image: SyntheticImage, clean: bool = False) -> NDArray[np.uint8]:
    """Return the pixels (128, 128) with the watermark and, unless `clean`, the visible mark."""
    return marks.watermark(image.pixels if clean else marks.visible(image.pixels))


def file_name(image: SyntheticImage, kind: str = "png") -> str:
    """Return for example ``chest_xray_gan_viral_seed1_0007.png``."""
    return f"{image.model}_{image.label}_seed{image.seed}_{image.index:04d}.{_extension(kind)}"


def encoded(image: SyntheticImage, kind: str = "png", clean: bool = False) -> bytes:
    """Return one image as a file of a kind of :data:`KINDS`."""
    return {"png": png, "dcm": dicom}[_extension(kind)](image, clean)


def png(image: SyntheticImage, clean: bool = False) -> bytes:
    """Return one image as a grey PNG whose texts and XMP say that it is synthetic and how it was made."""
    return _png(marked(image, clean), _texts(image))


def _texts(image: SyntheticImage) -> dict[str, str]:
    shifts = " ".join(f"{name}={value:g}" for name, value in image.shifts)
    made = {"Model": f"{image.model} {image.version}", "Label": image.label, "Seed": str(image.seed)}
    made |= {"Index": str(image.index), "Truncation": f"{image.truncation:g}"} | ({"Shifts": shifts} if shifts else {})
    return made


def _png(pixels: NDArray[np.uint8], texts: dict[str, str]) -> bytes:
    info = PngImagePlugin.PngInfo()
    said = {"Description": marks.STATEMENT, "SyntheticData": "YES", "Software": f"MedAI {__version__}", **texts}
    for name, text in said.items():
        info.add_text(name, text)
    info.add_itxt("XML:com.adobe.xmp", marks.xmp())
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info, optimize=True)
    return file.getvalue()


def dicom(image: SyntheticImage, clean: bool = False) -> bytes:
    """Return one image as DICOM Secondary Capture (PS3.3 A.8.1) of the patient SYNTHETIC.

    Synthetic Data (0008,001C) is YES, the image type is derived and secondary, and the derivation description says
    how the image was made. The same image gives the same bytes, UIDs included.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    pixels = marked(image, clean)
    texts = _texts(image)
    series = [image.model, image.version, image.label, str(image.seed), texts["Truncation"], texts.get("Shifts", "")]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = SecondaryCaptureImageStorage
    uid = generate_uid(entropy_srcs=[*series, str(image.index), str(clean)])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType, ds.SyntheticData, ds.ConversionType = ["DERIVED", "SECONDARY"], "YES", "SYN"
    ds.PatientName = ds.PatientID = "SYNTHETIC"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[*series, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[*series, "series"])
    ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ds.StudyID = ds.AccessionNumber = ""
    ds.SeriesNumber, ds.InstanceNumber = 1, image.index + 1
    ds.SeriesDescription = f"Synthetic: {image.label}"
    ds.Modality, ds.BodyPartExamined = ("MR", "HEAD") if image.model.startswith("brain_mri") else ("DX", "CHEST")
    ds.PatientOrientation, ds.Laterality = "", ""
    ds.Manufacturer, ds.SoftwareVersions = "MedAI", __version__
    ds.DerivationDescription = f"{marks.STATEMENT} " + ", ".join(f"{name} {text}" for name, text in texts.items())
    ds.BurnedInAnnotation = "NO" if clean else "YES"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = pixels.tobytes()
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def gif(frames: NDArray[np.uint8], ms: int = 60) -> bytes:
    """Return images (N, 128, 128) as an endless grey animation, each with both marks in its pixels.

    Raises
    ------
    InputError
        If there is no frame.
    """
    if not len(frames):
        raise InputError("A GIF needs at least one frame.")
    pictures = [Image.fromarray(marks.watermark(marks.visible(frame))) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=ms, loop=0, comment=marks.STATEMENT.encode()
    )
    return file.getvalue()


def grid(images: Sequence[SyntheticImage], columns: int) -> bytes:
    """Return a contact sheet as PNG: all images in rows of `columns`, each with all its marks.

    Raises
    ------
    InputError
        If there is no image, or less than one column.
    """
    if not images or columns < 1:
        raise InputError(
            "A contact sheet needs images and `columns` of at least 1, got {n} images and {columns}",
            n=len(images),
            columns=columns,
        )
    tiles = [marked(image) for image in images]
    height, width = tiles[0].shape
    across, down = min(columns, len(tiles)), -(-len(tiles) // columns)
    sheet = np.zeros((down * height, across * width), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    first = images[0]
    return _png(sheet, {"Model": f"{first.model} {first.version}", "Images": str(len(tiles))})


def zip_of(
    images: Iterable[SyntheticImage],
    kind: str = "png",
    clean: bool = False,
    progress: Callable[[int], None] | None = None,
) -> bytes:
    """Return a ZIP of image files with ``labels.csv`` and ``README.txt``.

    Parameters
    ----------
    kind : {"png", "dicom"}
    clean : bool
        Leave out the visible mark.
    progress : callable, optional
        Is told after each image how many are done.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    _extension(kind)
    file, rows = io.BytesIO(), []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # the images are compressed already
        for done, image in enumerate(images, 1):
            rows.append(label_row(image, kind))
            archive.writestr(zipfile.ZipInfo(rows[-1][0], _EARLIEST), encoded(image, kind, clean))
            if progress is not None:
                progress(done)
        archive.writestr(zipfile.ZipInfo("labels.csv", _EARLIEST), labels_csv(rows))
        archive.writestr(zipfile.ZipInfo("README.txt", _EARLIEST), README)
    return file.getvalue()


def label_row(image: SyntheticImage, kind: str = "png") -> tuple[object, ...]:
    """Return an image's row of ``labels.csv``, in the order of :data:`COLUMNS`."""
    made = image.label, image.seed, image.index, image.truncation, image.model, image.version
    return file_name(image, kind), *made


def labels_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return ``labels.csv``."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()


def _extension(kind: str) -> str:
    if kind not in KINDS:
        raise InputError("`kind` must be one of {known}, got {kind}", known=", ".join(KINDS), kind=repr(kind))
    return KINDS[kind]
