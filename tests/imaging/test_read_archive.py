"""ZIP archives: what comes out, what is skipped, and what is held back."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from intake_files import bundled, ramp, raster

from medai_core.imaging import read_archive
from medai_core.imaging.read import Member, read_scan, sniff, unpack

pytestmark = pytest.mark.usefixtures("fresh_settings")


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return stream.getvalue()


def walk(data: bytes) -> list[Member]:
    return list(unpack(data, "upload.zip"))


def test_no_archive_is_its_own_member() -> None:
    (member,) = unpack(raster(ramp(), "PNG"), "a.zip")
    assert member.name == "a.zip" and member.error is None and np.array_equal(read_scan(member.data).display, ramp())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_in_their_own_order(method: int) -> None:
    files = [("b/x.png", raster(ramp(), "PNG")), ("a.dcm", bundled("CT_small.dcm")), ("c.txt", b"notes")]
    members = walk(zipped(*files, method=method))
    assert [(m.name, m.data, m.error) for m in members] == [(name, data, None) for name, data in files]


def test_folders_and_leavings_are_skipped() -> None:
    names = ["d/", "__MACOSX/._a.png", "__MACOSX/x", "d/._b.png", ".DS_Store", "d/Thumbs.db", "d/a.png"]
    assert [m.name for m in walk(zipped(*((name, b"x") for name in names)))] == ["d/a.png"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/abs.dcm", "abs.dcm"),
        ("C:\\x\\..\\y.dcm", "x/y.dcm"),
        ("a\n\x1b[0m.dcm", "a[0m.dcm"),
        ("..", "?"),
    ],
)
def test_names_are_harmless(name: str, shown: str) -> None:
    assert [m.name for m in walk(zipped((name, b"x")))] == [shown]


def test_names_that_are_the_same_once_harmless_stay_apart() -> None:
    names = ["a.png", "../a.png", "b/a.png", "a (2).png", "/a.png", "..", "."]
    members = walk(zipped(*((name, name.encode()) for name in names)))
    assert [m.name for m in members] == ["a.png", "a (2).png", "b/a.png", "a (2) (2).png", "a (3).png", "?", "? (2)"]
    assert [m.data.decode() for m in members] == names


def test_hidden_files_are_passed_over_as_in_a_folder() -> None:
    names = [".hidden.png", ".git/x.png", "d/.cache/x.png", "d/seen.png"]
    assert [m.name for m in walk(zipped(*((name, b"x") for name in names)))] == ["d/seen.png"]


def test_names_written_in_gbk() -> None:
    data = zipped(("AAAA.dcm", b"x")).replace(b"AAAA", "胸片".encode("gbk"))
    assert [m.name for m in walk(data)] == ["胸片.dcm"]


def test_a_bad_member_does_not_stop_the_rest() -> None:
    data = bytearray(zipped(("a", b"first"), ("b", b"second " * 50), ("c", b"third"), method=zipfile.ZIP_STORED))
    data[data.index(b"second") + 3] ^= 0xFF
    a, b, c = walk(bytes(data))
    assert (a.data, a.error, c.data, c.error) == (b"first", None, b"third", None)
    assert str(b.error) == "This file of the archive is damaged and cannot be unpacked." and b.data == b""


def test_encrypted_member() -> None:
    data = bytearray(zipped(("a", b"secret"), ("b", b"open")))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    a, b = walk(bytes(data))
    assert str(a.error) == "This file of the archive is encrypted; unpack it with its password first."
    assert b.data == b"open"


def test_unknown_packing_method() -> None:
    data = bytearray(zipped(("a", b"x")))
    data[data.index(b"PK\x01\x02") + 10] = 97
    data[8] = 97
    (member,) = walk(bytes(data))
    assert "packed by method 97" in str(member.error)


def test_nested_archive() -> None:
    inner, outside = walk(zipped(("in.zip", zipped(("x", b"x"))), ("a", b"a")))
    assert str(inner.error) == "An archive inside an archive is not opened; unpack it first."
    assert outside.error is None


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_ARCHIVE_FILES", "3")
    (member,) = walk(zipped(*((str(n), b"x") for n in range(4))))
    assert member.name == "upload.zip" and str(member.error) == "The archive holds more than the 3 files read here."
    assert len(walk(zipped(*((str(n), b"x") for n in range(3))))) == 3


def test_too_large_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    big, small = walk(zipped(("big", bytes(1_500_000)), ("small", b"x")))
    assert str(big.error) == "This file of the archive is larger than the 1 MB read here."
    assert small.data == b"x"


def test_bomb_by_total_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_ARCHIVE_MB", "2")
    members = walk(zipped(*((str(n), bytes(900_000)) for n in range(5))))
    assert [m.name for m in members] == ["0", "1", "upload.zip"]
    assert str(members[-1].error) == "The archive unpacks to more than is read here: it looks like a ZIP bomb."


def test_bomb_by_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_archive, "_RATIO_FREE_BYTES", 1_000_000)
    members = walk(zipped(("a", bytes(900_000)), ("b", bytes(900_000)), ("c", b"x")))
    assert [m.name for m in members] == ["a", "upload.zip"] and "ZIP bomb" in str(members[-1].error)


def test_lying_headers_do_not_help_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that claim to be small are cut where they claim to end; refused ones still use up the budget."""
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    monkeypatch.setenv("MEDAI_MAX_ARCHIVE_MB", "5")
    files = [(str(n), bytes(3_000_000)) for n in range(20)]
    members = walk(zipped(*files))
    assert len(members) < 6 and "ZIP bomb" in str(members[-1].error)
    small = bytearray(zipped(("a", bytes(3_000_000))))
    at = small.index(b"PK\x01\x02")
    small[at + 24 : at + 28] = (10).to_bytes(4, "little")
    (member,) = walk(bytes(small))
    assert member.error is not None


def test_too_large_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_ARCHIVE_MB", "1")
    (member,) = walk(zipped(("a", np.random.default_rng(0).bytes(1_100_000))))
    assert str(member.error) == "The archive is larger than the 1 MB read here."


def test_damaged_list_of_files() -> None:
    data = zipped(("a", b"x"), ("b", b"y"))
    (member,) = walk(data[:-30])
    assert str(member.error) == "The ZIP archive is damaged or cut off: its list of files cannot be read."


def test_office_documents_are_no_archives() -> None:
    data = zipped(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w/>"))
    assert sniff(data) == "Office" and [m.name for m in walk(data)] == ["upload.zip"]


def test_empty_archive() -> None:
    assert walk(zipped()) == []
