"""Scans on disk: what cannot be opened is one member's error, and the others go on."""

from __future__ import annotations

from pathlib import Path

from medai_core.imaging.files import members


def test_a_link_that_leads_back_to_itself_does_not_end_the_walk(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"first")
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"last")
    first, looping, last = members([str(tmp_path)])
    assert (first.data, first.error, last.data, last.error) == (b"first", None, b"last", None)
    assert looping.name == str(tmp_path / "b.png") and str(looping.error).startswith("The file cannot be opened: ")
