"""The key of the workspace and all that is made with it.

One key of 32 bytes is never used itself: HKDF (RFC 5869) derives one for each purpose. Bytes and identifying columns
are sealed with AES-256-GCM (NIST SP 800-38D); what must be looked up without being readable (patient numbers, UIDs,
words of a name, contents) is kept as an HMAC-SHA256, so that nobody without the key can guess and compare.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medai_core.errors import InputError, MedAIError
from medai_core.settings import Settings

KEY_BYTES, NONCE_BYTES = 32, 12
KEY_FILE = "key"


class Keys:
    """All keys of a workspace.

    Parameters
    ----------
    master : bytes
        32 random bytes.
    """

    def __init__(self, master: bytes) -> None:
        self._derived = cache(lambda purpose: _derive(master, purpose))
        self._cipher = AESGCM(self.derive("sealing"))

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose; nothing can be learned from them of those for another."""
        return self._derived(purpose)

    def seal(self, data: bytes, about: str) -> bytes:
        """Encrypt; `about` says what it is, so that it cannot be passed off as something else."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, about.encode())

    def unseal(self, sealed: bytes, about: str) -> bytes:
        """Decrypt what :meth:`seal` made.

        Raises
        ------
        MedAIError
            If it was changed, or sealed with another key or about something else.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about.encode())
        except (InvalidTag, ValueError):
            raise MedAIError("What is stored as {what} was changed or is damaged.", what=about.split()[0]) from None

    def seal_json(self, value: Any, about: str) -> bytes:
        return self.seal(json.dumps(value, ensure_ascii=False).encode(), about)

    def unseal_json(self, sealed: bytes, about: str) -> Any:
        return json.loads(self.unseal(sealed, about))

    def blind(self, kind: str, *parts: str) -> str:
        """64 hex digits under which something is found again without being stored."""
        return hmac.digest(self.derive("blind index"), json.dumps([kind, *parts]).encode(), "sha256").hex()

    def address(self, content: bytes) -> str:
        """Address of a content, 64 hex digits: equal for equal bytes, and not to be guessed from them."""
        return hmac.digest(self.derive("content address"), content, "sha256").hex()

    def pseudonym(self, case_id: str) -> str:
        """What a patient is called where identities are not shown: ``P-`` and 10 letters or digits."""
        digest = hmac.digest(self.derive("pseudonym"), case_id.encode(), "sha256")
        return f"P-{base64.b32encode(digest).decode()[:10]}"

    @property
    def check(self) -> str:
        """What tells this key from others without giving it away."""
        return hmac.digest(self.derive("check"), b"medai", "sha256").hex()


def load_keys(settings: Settings, *, make: bool) -> Keys:
    """The keys of the environment, else of the key file.

    Parameters
    ----------
    make : bool
        Make a key file where there is none: right for a new workspace alone.

    Raises
    ------
    InputError
        If the key is missing or is not 32 bytes in base64.
    """
    if settings.key:
        return Keys(_decoded(settings.key, "MEDAI_KEY"))
    path = settings.data_dir / KEY_FILE
    if not path.exists():
        if not make:
            raise InputError("The key of this workspace is missing: set `{name}`.", name="MEDAI_KEY")
        _make_key(path)
    return Keys(_decoded(path.read_text(encoding="ascii"), KEY_FILE))


def _decoded(text: str, name: str) -> bytes:
    try:
        master = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        master = b""
    if len(master) != KEY_BYTES:
        raise InputError("`{name}` must be 32 bytes in base64.", name=name)  # its value is nobody's business
    return master


def _make_key(path: Path) -> None:
    """Write a new key that only its owner can read; of several processes at once the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".key-") as file:  # made with mode 0600
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that what was created or renamed in a folder outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _derive(master: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"medai {purpose}".encode()).derive(master)
