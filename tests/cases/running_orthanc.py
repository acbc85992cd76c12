"""A real PACS: Debian's Orthanc with its DICOMweb plugin, on free ports of this machine, stored in a test's folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from drawn_dicom import free_port

AET = "ORTHANC"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
START_SECONDS = 30
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def absent(reason: str) -> NoReturn:
    """Skip, or fail where all tests are to run: there a PACS that is missing must not look like success."""
    if os.environ.get("CI") or os.environ.get("MEDAI_TEST_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


class Orthanc:
    """Its REST interface, as an administrator of the PACS uses it."""

    def __init__(self, http_port: int, dicom_port: int) -> None:
        self.url, self.dicom_port = f"http://127.0.0.1:{http_port}", dicom_port
        self.dicomweb = f"{self.url}/dicom-web"

    def ask(self, path: str, body: bytes | dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.url + path, data, method=method)
        with _DIRECT.open(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def put(self, file: bytes) -> str:
        """Store a DICOM file by REST; return Orthanc's id of it."""
        return self.ask("/instances", file)["ID"]

    def push(self, instances: list[str], to: str = "medai") -> str:
        """Send instances by C-STORE and wait for it; empty, or what went wrong.

        Not "permissive": Orthanc 1.10 then counts no failure.
        """
        try:
            self.ask(f"/modalities/{to}/store", {"Resources": instances, "Synchronous": True})
        except urllib.error.HTTPError as error:
            return json.loads(error.read()).get("Details", "") or str(error)
        return ""

    def find(self, level: str, **tags: str) -> list[dict[str, Any]]:
        """Resources with these tags."""
        return self.ask("/tools/find", {"Level": level, "Query": tags, "Expand": True})

    def clear(self) -> None:
        for study in self.ask("/studies"):
            self.ask(f"/studies/{study}", method="DELETE")


@contextmanager
def running(folder: Path, workspace_port: int, lua: str = "") -> Iterator[Orthanc]:
    """Start Orthanc with this workspace as its modality `medai`, and with a script of its own."""
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not PLUGIN.exists():
        absent("Orthanc and its DICOMweb plugin are not installed: apt-get install orthanc orthanc-dicomweb")
    orthanc = Orthanc(free_port(), free_port())
    storage = folder / "orthanc"
    storage.mkdir()
    configuration = {
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "HttpPort": int(orthanc.url.rpartition(":")[2]),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": AET,
        "DicomPort": orthanc.dicom_port,
        "DicomModalities": {"medai": ["MEDAI", "127.0.0.1", workspace_port]},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "LuaScripts": [str(folder / "script.lua")],
        "StableAge": 1,
    }
    (folder / "script.lua").write_text(lua, encoding="utf-8")
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(orthanc, process, folder / "orthanc.log")
        yield orthanc
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(orthanc: Orthanc, process: subprocess.Popen, log: Path) -> None:
    for _ in range(START_SECONDS * 10):
        if process.poll() is not None:
            break
        try:
            orthanc.ask("/system")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")
