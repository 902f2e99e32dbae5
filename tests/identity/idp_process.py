"""The process of a real OpenID Provider, which is written for Node."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.identity.minting import Signer

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "idp"
CACHE = ROOT / ".cache" / "idp"
SECRET = "known-to-the-test-alone-and-long-enough"
NPM_IS_MISSING = 3


def install() -> None:
    """What the provider needs, or a reason to skip."""
    script = [ROOT / "scripts" / "node-packages", HERE, CACHE]
    done = subprocess.run(script, check=False, capture_output=True, text=True, timeout=100)
    if done.returncode == NPM_IS_MISSING:
        pytest.skip(
            "npm is missing here, and cannot be installed; the provider is written for Node"
        )
    assert done.returncode == 0, done.stderr


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Idp:
    """The provider's process, its key file, and the lines that it says."""

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._port = port
        self._keys = directory / "keys.json"
        self.said: list[str] = []
        self.environment: dict[str, str] = {}
        shutil.copy(HERE / "idp.mjs", directory)
        (directory / "node_modules").symlink_to(CACHE / "node_modules")

    def start(self) -> None:
        """On the same port each time, with the same keys."""
        before = self.said.count("ready")
        command = ["node", "idp.mjs", str(self._port), str(self._keys), "clients.json"]
        with (self._directory / "log").open("a") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=self._directory,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | self.environment,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        eventually(lambda: self.said.count("ready") > before)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def publish(self, *keys: Signer) -> None:
        """The first one signs from now on."""
        jwks = {"keys": [key.jwk(private=True) for key in keys]}
        self._keys.write_text(json.dumps(jwks))
        if hasattr(self, "process"):
            before = self.said.count("read")
            self.process.send_signal(signal.SIGHUP)
            eventually(lambda: self.said.count("read") > before)

    def register(self, *clients: dict[str, Any]) -> None:
        """Clients that log people in; before the start."""
        (self._directory / "clients.json").write_text(json.dumps(clients))

    def token(self) -> bytes:
        form = b"grant_type=client_credentials&scope=chat"
        basic = base64.b64encode(f"batch:{SECRET}".encode())
        request = urllib.request.Request(
            f"{self.url}/token", form, {"Authorization": f"Basic {basic.decode()}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            token: str = json.load(answer)["access_token"]
        return token.encode()

    @property
    def fetches(self) -> int:
        return self.said.count("GET /jwks")


def eventually(condition: Callable[[], object], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
