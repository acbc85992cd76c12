"""A sign-in provider (OpenID Connect) as a process of its own on loopback, and the app set up to use it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the tests, long enough to sign with"
START_SECONDS = 60
PEOPLE: dict[str, dict[str, object]] = {
    "reader": {"name": "Rita Reader", "roles": ["reader"]},
    "researcher": {"name": "Sam <b>Search</b> *er*", "roles": "researcher,unknown"},
    "administrator": {"name": "Ada Min", "roles": ["Administrator"], "groups": ["/radiology"]},
    "nobody": {"name": "No Body", "roles": ["service", "root"]},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command: list[str], answers: str, log: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """Run a server until the end of the block, and enter that when it answers."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | environment
        )
    try:
        for _ in range(START_SECONDS * 10):
            try:
                with urllib.request.urlopen(answers, timeout=1):
                    break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None:
                    break
                time.sleep(0.1)
        assert process.poll() is None, log.read_text("utf-8", "replace")[-3000:]
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def provider(log: Path, port: int, *, token_seconds: int = 3600, forged: bool = False) -> Iterator[str]:
    """Run a provider that knows :data:`PEOPLE`; a forged one signs with another key than it shows."""
    options = json.dumps({"port": port, "token_seconds": token_seconds, "forged": forged})
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, __file__, options]
    with running(command, f"{address}/.well-known/openid-configuration", log, AUTHLIB_INSECURE_TRANSPORT="1"):
        yield address


@contextmanager
def app(folder: Path, issuer: str) -> Iterator[str]:
    """Run the app with sign-in by a provider, and without models, which need not be loaded for that.

    Its address is what the block gets.
    """
    port = free_port()
    address = f"http://localhost:{port}"
    secrets = folder / "secrets.toml"
    secrets.write_text(
        f'[auth]\nredirect_uri = "{address}/oauth2callback"\ncookie_secret = "{SECRET}"\n'
        f'client_id = "medai"\nclient_secret = "any"\n'
        f'server_metadata_url = "{issuer}/.well-known/openid-configuration"\n',
        "utf-8",
    )
    command = [
        sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.port", str(port),
        "--secrets.files", str(secrets),
    ]  # fmt: skip
    environment = {"MEDAI_DATA_DIR": str(folder / "data"), "MEDAI_ASSETS": str(folder / "no models")}
    with running(command, f"{address}/_stcore/health", folder / "app.log", **environment):
        yield address


def serve(port: int, token_seconds: int, forged: bool) -> None:
    """Serve as a provider until stopped."""
    import uvicorn
    from authlib.jose import JsonWebKey
    from oidc_provider_mock import User
    from oidc_provider_mock import app as mock

    people = [User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    made = mock(access_token_max_age=timedelta(seconds=token_seconds), user_claims=people)
    if forged:
        shown = made.view_functions["oidc-provider-mock.jwks"]
        other = JsonWebKey.generate_key("RSA", 2048).as_dict()

        def jwks() -> dict[str, object]:
            (key,) = shown().get_json()["keys"]
            return {"keys": [key | {"n": other["n"]}]}

        made.view_functions["oidc-provider-mock.jwks"] = jwks
    uvicorn.run(made, interface="wsgi", port=port, log_level="warning")


if __name__ == "__main__":
    serve(**json.loads(sys.argv[1]))
