"""The command as a program among others: pipes, full disks, closed descriptors, Ctrl-C, no home."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.conftest import environment

from inhouse.audit.log import append_once
from inhouse.audit.record import Denial
from inhouse.config.load import load_config

INHOUSE = [sys.executable, "-m", "inhouse"]


def shell(line: str, *, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    """A line of bash in which `inhouse` is this one."""
    script = f'inhouse() {{ "{sys.executable}" -m inhouse "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60, cwd=cwd,
        env=environment(**more),
    )  # fmt: skip


@pytest.mark.parametrize("command", ["check --sample", "--help", "--version", "check"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, command: str) -> None:
    done = shell(f"inhouse {command} >/dev/full", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "inhouse: standard output cannot be used: No space left on device\n"


def test_whoever_reads_the_head_only_is_not_told_of_the_rest(tmp_path: Path) -> None:
    for _ in range(3):
        done = shell("inhouse check --sample | head -1", cwd=tmp_path)
        assert done.stdout.startswith("# Inhouse: every key")
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "status"),
    [("check --sample", 0), ("--help", 0), ("audit verify --data good", 0),
     ("audit search --data good", 0), ("audit verify --data bad", 1), ("chekc", 2)],
)  # fmt: skip
def test_what_a_command_came_to_is_its_status_whoever_reads(
    tmp_path: Path, command: str, status: int
) -> None:
    for name in ("good", "bad"):
        shell(f"inhouse keys create anna --data {name}", cwd=tmp_path)
        append_once(
            load_config(None, tmp_path / name, {}),
            Denial("req_1", 1.0, "127.0.0.1", "/", "denied", 401),
        )
    with (tmp_path / "bad" / "audit" / "000001.jsonl").open("ab") as file:
        file.write(b"no record\n")
    done = shell(f"inhouse {command} | true", cwd=tmp_path)
    assert done.returncode == status
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_become_nobodys_file(tmp_path: Path, closed: str) -> None:
    done = shell(f"inhouse keys create anna --data data {closed}", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    for file in (tmp_path / "data").rglob("*"):
        assert not file.is_file() or b"ihk_" not in file.read_bytes()


def test_an_interrupt_at_any_moment_is_silent(tmp_path: Path) -> None:
    began = time.monotonic()
    subprocess.run([*INHOUSE, "check"], cwd=tmp_path, capture_output=True, check=False)
    whole_s = time.monotonic() - began
    for part in range(1, 11):
        process = subprocess.Popen(
            [sys.executable, "-c", WAITING, "check"], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(whole_s * part / 12)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        ended = (130, -signal.SIGINT, 0)  # the second where Python itself was ending already
        assert process.returncode in ended, err
        assert err == ""


WAITING = """
from inhouse.__main__ import main
print("now", flush=True)
main()
"""


def test_without_a_home_there_is_no_place_for_data(tmp_path: Path) -> None:
    done = shell("inhouse check --data '~nobody-of-that-name/x'", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "inhouse: the data directory ~nobody-of-that-name/x begins with '~', and there is no such "
        "home directory; choose one with --data\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become a user without an account")
def test_a_user_without_an_account_and_without_a_home(tmp_path: Path) -> None:
    code = "import os, sys; from inhouse.__main__ import run; run(['check', '--data', '/']); "
    code += "os.setgroups([]); os.setgid(4242424); os.setuid(4242424); sys.exit(run(['check']))"
    environ = environment(PYTHONPATH=":".join(sys.path))
    environ.pop("HOME", None)
    environ.pop("XDG_DATA_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/",
        env=environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "inhouse: there is no place for data: its path begins with '~', and there is no such home "
        "directory; choose one with --data\n"
    )


AS_ANOTHER_USER = """
import importlib, os, pkgutil, sys
import inhouse
from inhouse.__main__ import run
for each in pkgutil.walk_packages(inhouse.__path__, "inhouse."):  # which may be root's to read
    if "migrations" not in each.name and not each.name.endswith((".__main__", ".llamacpp")):
        importlib.import_module(each.name)
run(["check", "--data", "/"])
os.setgroups([])
os.setgid(4242424)
os.setuid(4242424)
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
@pytest.mark.parametrize(
    "command", ["up", "keys list", "keys create anna", "audit tail", "audit search", "audit verify"]
)
def test_the_data_of_another_user_is_told_to_be_so(command: str) -> None:
    """Though it cannot be read; and a file that cannot be read is named too."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        data, config = Path(directory) / "data", Path(directory) / "inhouse.toml"
        shell("inhouse keys create anna --data data", cwd=Path(directory))
        data.chmod(0o700)
        config.touch(0o600)
        said = []
        for options in (["--data", str(data)], ["--data", str(data), "--config", str(config)]):
            done = subprocess.run(
                [sys.executable, "-c", AS_ANOTHER_USER, *command.split(), *options], cwd="/",
                capture_output=True, text=True, check=False,
                env=environment(PYTHONPATH=":".join(sys.path)),
            )  # fmt: skip
            assert done.returncode == 2, done.stderr
            said.append(done.stderr)
        assert said[0] == f"inhouse: {data} belongs to root; run this as root\n"
        assert said[1] == f"inhouse: {config} cannot be read: Permission denied\n"


@pytest.mark.parametrize("command", ["up", "keys create anna"])
def test_data_that_can_be_no_directory(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    for data in ("file", "file/below", "/proc/none", "x" * 300):
        done = shell(f"inhouse {command} --data {data}", cwd=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert data in done.stderr


@pytest.mark.parametrize("width", ["80", "100"])
@pytest.mark.parametrize("command", ["", "up", "check", "keys", "keys create", "keys list",
                                     "keys revoke", "keys rotate"])  # fmt: skip
def test_help_is_whole(tmp_path: Path, command: str, width: str) -> None:
    text = shell(f"inhouse {command} --help", cwd=tmp_path, COLUMNS=width).stdout
    assert "..." not in text.replace("COMMAND [ARGS]...", "").replace("NAME,...", "")
    assert max(len(line) for line in text.splitlines()) <= int(width)
    if command not in ("", "keys"):
        assert ".local/share/inhouse" in " ".join(text.split())
    assert "range" not in text


@pytest.mark.parametrize(("tls", "scheme"), [("true", "https"), ("false", "http")])
def test_check_says_how_clients_connect(tmp_path: Path, tls: str, scheme: str) -> None:
    done = shell("inhouse check", cwd=tmp_path, INHOUSE_TLS_SELF_SIGNED=tls)
    assert f"clients        {scheme}://127.0.0.1:8080" in done.stdout.splitlines()
