"""Every environment setting, in one typed place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from medai_core.errors import InputError

DEVICES = ("auto", "cpu", "gpu")
_ASSETS = Path(__file__).resolve().parents[1] / "assets"


def _setting(default: object, env: str, meaning: str) -> Any:
    return field(default=default, metadata={"env": env, "meaning": meaning})


@dataclass(frozen=True)
class Settings:
    """What can be set from outside; each field's metadata names its variable and says what it means.

    Raises
    ------
    InputError
        If a value is outside what its rule allows.
    """

    assets_dir: Path = _setting(_ASSETS, "MEDAI_ASSETS", "folder with models/ and samples/")
    device: str = _setting("auto", "MEDAI_DEVICE", "auto, cpu or gpu; auto takes a GPU when TensorFlow sees one")
    threads: int = _setting(0, "MEDAI_THREADS", "CPU threads of the networks; 0 means one per core")
    max_file_mb: int = _setting(512, "MEDAI_MAX_FILE_MB", "largest single file read, in MB (10^6 bytes)")
    max_megapixels: int = _setting(100, "MEDAI_MAX_MEGAPIXELS", "most pixels decoded from one image, in millions")
    max_archive_files: int = _setting(5000, "MEDAI_MAX_ARCHIVE_FILES", "most files read from one ZIP archive")
    max_archive_mb: int = _setting(2048, "MEDAI_MAX_ARCHIVE_MB", "most unpacked MB read from one ZIP archive")

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(
                "`{name}` must be one of {allowed}, got {value}",
                name="MEDAI_DEVICE",
                allowed=", ".join(DEVICES),
                value=repr(self.device),
            )
        for f in fields(self):
            if f.type == "int" and getattr(self, f.name) < (lowest := 0 if f.name == "threads" else 1):
                raise InputError(
                    "`{name}` must be at least {lowest}, got {value}",
                    name=f.metadata["env"],
                    lowest=lowest,
                    value=getattr(self, f.name),
                )


@cache
def settings() -> Settings:
    """The settings of this process, read from the environment once.

    Tests that change the environment call ``settings.cache_clear()``.
    """
    given = {f.name: (f.type, f.metadata["env"]) for f in fields(Settings) if os.environ.get(f.metadata["env"])}
    return Settings(**{name: _parse(kind, env) for name, (kind, env) in given.items()})


def _parse(kind: object, env: str) -> object:
    text = os.environ[env].strip()
    if kind == "Path":
        return Path(text).expanduser()
    if kind == "str":
        return text.lower()
    try:
        return int(text)
    except ValueError:
        raise InputError("`{name}` must be a whole number, got {value}", name=env, value=repr(text)) from None
