"""Every environment setting, in one typed place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from medai_core.errors import InputError

DEVICES = ("auto", "cpu", "gpu")
_ASSETS = Path(__file__).resolve().parents[1] / "assets"
_PEER = re.compile(r"([^@,\s][^@,]{0,15})@([^@:,\s]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")


def _setting(default: object, env: str, meaning: str, *, lowest: int = 1, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"env": env, "meaning": meaning, "lowest": lowest})


@dataclass(frozen=True)
class Peer:
    """A DICOM application that may associate, and where it listens itself."""

    aet: str
    host: str
    port: int


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
    threads: int = _setting(0, "MEDAI_THREADS", "CPU threads of the networks; 0 means one per core", lowest=0)
    max_file_mb: int = _setting(512, "MEDAI_MAX_FILE_MB", "largest single file read, in MB (10^6 bytes)")
    max_megapixels: int = _setting(100, "MEDAI_MAX_MEGAPIXELS", "most pixels decoded from one image, in millions")
    max_archive_files: int = _setting(5000, "MEDAI_MAX_ARCHIVE_FILES", "most files read from one ZIP archive")
    max_archive_mb: int = _setting(2048, "MEDAI_MAX_ARCHIVE_MB", "most unpacked MB read from one ZIP archive")
    data_dir: Path = _setting(
        user_data_path("medai"), "MEDAI_DATA_DIR", "folder of the case workspace: database, encrypted files, key"
    )
    database_url: str = _setting(
        "",
        "MEDAI_DATABASE_URL",
        "SQLAlchemy address of the database; empty means SQLite in MEDAI_DATA_DIR",
        secret=True,
    )
    key: str = _setting(
        "",
        "MEDAI_KEY",
        "base64 of the 32 bytes that encrypt the workspace; empty means a key file in MEDAI_DATA_DIR",
        secret=True,
    )
    retention_days: int = _setting(
        0, "MEDAI_RETENTION_DAYS", "days after its last arrival at which a case is forgotten; 0 means never", lowest=0
    )
    watch_dir: Path | None = _setting(None, "MEDAI_WATCH_DIR", "folder whose files are received as they appear")
    dicom_port: int = _setting(0, "MEDAI_DICOM_PORT", "port on which DICOM C-STORE is received; 0 means off", lowest=0)
    dicom_aet: str = _setting("MEDAI", "MEDAI_DICOM_AET", "DICOM application entity title of this workspace")
    dicom_address: str = _setting("127.0.0.1", "MEDAI_DICOM_ADDRESS", "address on which DICOM C-STORE is received")
    dicom_peers: str = _setting(
        "", "MEDAI_DICOM_PEERS", "who may associate, and where reports go: AET@host:port, separated by commas"
    )
    dicomweb_url: str = _setting("", "MEDAI_DICOMWEB_URL", "root address of a PACS with DICOMweb; empty means none")
    roles_claim: str = _setting("roles", "MEDAI_ROLES_CLAIM", "claim of the sign-in token that holds the roles")
    groups_claim: str = _setting("groups", "MEDAI_GROUPS_CLAIM", "claim of the sign-in token that holds the groups")
    open: bool = _setting(False, "MEDAI_OPEN", "1 allows a public address without sign-in")
    session_minutes: int = _setting(480, "MEDAI_SESSION_MINUTES", "minutes after which a sign-in ends")

    @property
    def peers(self) -> tuple[Peer, ...]:
        """`dicom_peers`, taken apart.

        Raises
        ------
        InputError
            If one of them is not of the form AET@host:port.
        """
        found = []
        for text in filter(None, (part.strip() for part in self.dicom_peers.split(","))):
            parts = _PEER.fullmatch(text)
            if parts is None or not 0 < int(parts[3]) < 65_536:
                raise InputError(
                    "`{name}` must hold AET@host:port separated by commas, got {value}",
                    name="MEDAI_DICOM_PEERS",
                    value=repr(text),
                )
            found.append(Peer(parts[1].strip(), parts[2].strip("[]"), int(parts[3])))
        return tuple(found)

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(
                "`{name}` must be one of {allowed}, got {value}",
                name="MEDAI_DEVICE",
                allowed=", ".join(DEVICES),
                value=repr(self.device),
            )
        for f in fields(self):
            if f.type == "int" and getattr(self, f.name) < (lowest := f.metadata["lowest"]):
                raise InputError(
                    "`{name}` must be at least {lowest}, got {value}",
                    name=f.metadata["env"],
                    lowest=lowest,
                    value=getattr(self, f.name),
                )
        _ = self.peers  # a mistake in it is told at the start, not at the first association


@cache
def settings() -> Settings:
    """The settings of this process, read from the environment once.

    Tests that change the environment call ``settings.cache_clear()``.
    """
    given = {f.name: (f.type, f.metadata["env"]) for f in fields(Settings) if os.environ.get(f.metadata["env"])}
    return Settings(**{name: _parse(kind, env) for name, (kind, env) in given.items()})


def _parse(kind: object, env: str) -> object:
    text = os.environ[env].strip()
    if str(kind).startswith("Path"):
        return Path(text).expanduser()
    if kind == "str":
        return text.lower() if env == "MEDAI_DEVICE" else text
    if kind == "bool":
        if text not in ("0", "1"):
            raise InputError("`{name}` must be 0 or 1, got {value}", name=env, value=repr(text))
        return text == "1"
    try:
        return int(text)
    except ValueError:
        raise InputError("`{name}` must be a whole number, got {value}", name=env, value=repr(text)) from None
