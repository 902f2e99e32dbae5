"""A disk that is full: new requests are refused, running streams end with an error, nothing that
was recorded is lost, and service resumes by itself."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Running, environment, started

from inhouse.audit.read import records, rows

VERIFY = [sys.executable, "-m", "inhouse", "audit", "verify"]
FAKE = [sys.executable, "-m", "inhouse", "fake-engine", "--json"]


@pytest.fixture
def slow_engine() -> Iterator[str]:
    """A fake engine that says 30 tokens over three seconds."""
    with subprocess.Popen(
        [*FAKE, "--tokens", "30", "--rate", "10"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
        process.terminate()


@pytest.fixture
def small_disk(tmp_path: Path, slow_engine: str) -> Iterator[tuple[Running, Path]]:
    """`inhouse up` whose audit log stands on a disk of 1 MiB, seen from outside."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=1m,mode=700 none {disk} && exec "$@"'
    toml = (
        f'[audit]\ndirectory = "{disk}/audit"\n'
        f'[models.m]\nengines = ["{slow_engine.replace("http", "openai")}/m"]\n'
    )
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    with started(tmp_path / "data", toml, prefix=prefix) as running:
        yield running, Path(f"/proc/{running.process.pid}/root{disk}")


def ask(running: Running, *, stream: bool = False) -> tuple[int, bytes]:
    body: dict[str, Any] = {"model": "m", "stream": stream}
    body["messages"] = [{"role": "user", "content": "hi"}]
    headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{running.url}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def fill(disk: Path) -> Path:
    """Fill what is left of a disk to the last byte."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as opened:
        for size in (65_536, 4096, 256, 1):
            try:
                while opened.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return file


def use_up_the_page(running: Running) -> tuple[int, bytes]:
    """A file system gives whole pages: knock without a key until the log's last one is full."""
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{running.url}/v1/models", timeout=10)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 401:
                    return error.code, error.read()
    raise AssertionError("the log goes on, on a full disk")


def test_a_full_disk(small_disk: tuple[Running, Path]) -> None:
    running, disk = small_disk
    assert ask(running)[0] == 200
    before = (disk / "audit" / "000001.jsonl").read_bytes()

    filler = fill(disk)
    status, body = use_up_the_page(running)
    assert (status, json.loads(body)["error"]["code"]) == (503, "audit_unavailable")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{running.admin_url}/readyz", timeout=10)
    with refused.value:
        assert "No space left" in refused.value.read().decode()

    filler.unlink()
    end = time.monotonic() + 10
    while ask(running)[0] != 200:
        assert time.monotonic() < end, "service did not resume"
        time.sleep(0.2)
    assert (disk / "audit" / "000001.jsonl").read_bytes().startswith(before)


def test_a_disk_that_fills_up_while_an_answer_streams(small_disk: tuple[Running, Path]) -> None:
    running, disk = small_disk
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{running.url}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.readline()
        filler = fill(disk)
        use_up_the_page(running)
        rest = answer.read()
    assert b"[DONE]" not in rest
    assert b"audit_unavailable" in rest.rstrip().splitlines()[-1]
    filler.unlink()
    end = time.monotonic() + 10
    while ask(running)[0] != 200:
        assert time.monotonic() < end, "service did not resume"
        time.sleep(0.2)
    copy = running.data.parent / "copy"
    subprocess.run(["cp", "-r", str(disk / "audit"), str(copy)], check=True)
    verified = subprocess.run(
        [*VERIFY, "--directory", str(copy), "--key", str(running.data / "secrets" / "audit.key")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert "0 requests running, 0 findings" in verified.stdout
    ended = {row.request_id: row.code for row in rows(records(copy)) if row.outcome == "failed"}
    assert list(ended.values()) == ["audit_unavailable"]
