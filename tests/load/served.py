"""The app as the README starts it, in a process whose memory and computing time can be read (on Linux)."""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cases.drawn_dicom import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 90
BAD = re.compile(r"Traceback|Uncaught|^ERROR|Exception in|Task exception")


@dataclass
class Server:
    """The process, its address and its log."""

    process: subprocess.Popen
    address: str
    log: Path

    def cpu_seconds(self) -> float:
        """What it has computed so far, over all cores."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024 / 1e6

    def complaints(self) -> list[str]:
        """Lines of its log that speak of errors; then all of it goes to the standard error."""
        text = self.log.read_text("utf-8", "replace")
        found = [line for line in text.splitlines() if BAD.search(line)]
        if found:
            print(text, file=sys.stderr)
        return found


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    """Start the app on a workspace of its own, with these settings, and wait until it answers; stop it afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    here = {"MEDAI_DATA_DIR": str(folder / "data"), "MEDAI_KEY": base64.b64encode(secrets.token_bytes(32)).decode()}
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            env=os.environ | here | settings,
        )  # fmt: skip
    try:
        address, begun = f"http://localhost:{port}", time.monotonic()
        while True:
            try:
                httpx.get(f"{address}/_stcore/health", timeout=2).raise_for_status()
                break
            except httpx.HTTPError as error:
                if process.poll() is not None or time.monotonic() - begun > START_SECONDS:
                    raise RuntimeError(f"the server did not start:\n{log.read_text('utf-8', 'replace')}") from error
                time.sleep(0.2)
        yield Server(process, address, log)
    finally:
        process.terminate()
        process.wait(timeout=30)
