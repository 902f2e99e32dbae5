"""The installation's scripts: where they may stand, what they believe, what they say."""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNREACHABLE = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "1"}


def clean(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    return kept | {"PIP_CONFIG_FILE": os.devnull} | more


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the installation needs of a clone, in a directory with a blank in its name."""
    directory = tmp_path / "my clone"
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, directory / name)
    for name in ("Makefile", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, directory)
    return directory


def common(clone: Path, script: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-euc", f". scripts/common.sh; {script}"],
        cwd=clone, env=clean(**more), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def environment_in(clone: Path) -> None:
    made = [sys.executable, "-m", "venv", "--without-pip", str(clone / ".venv")]
    subprocess.run(made, check=True, timeout=60)


def test_an_index_that_is_not_reached_is_one_sentence(clone: Path, tmp_path: Path) -> None:
    """Started from elsewhere, with settings of pip's that would send its work astray."""
    astray = {"PIP_TARGET": str(tmp_path / "astray"), "PIP_USER": "1", "PIP_DRY_RUN": "1"}
    done = subprocess.run(
        ["make", "-f", "my clone/Makefile", "install"],
        cwd=tmp_path, env=clean(**UNREACHABLE, **astray), capture_output=True, text=True,
        check=False, timeout=110,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode == 2
    assert lines[-1] == (
        "install: the package index was not reached; mend that and run this again. How to install "
        "without an index: docs/operations.md, 'Without the internet'"
    )
    assert len(lines) <= 3, lines
    assert (clone / ".venv" / ".bootstrapped").exists()
    assert not (clone / ".venv" / ".installed-runtime").exists()
    assert not (tmp_path / "astray").exists()


def test_a_model_whose_index_is_not_reached_is_one_sentence(clone: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(clone / "scripts" / "models.py"), str(tmp_path / "models")],
        env=clean(**UNREACHABLE), capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 1
    (fetch, last) = done.stderr.splitlines()
    assert fetch.startswith("  fetch smollm2-135m ...")
    assert "the package index was not reached" in last


@pytest.mark.parametrize("change", ["nothing", "moved", "another Python", "no Python"])
def test_a_stamp_is_of_a_place_and_a_python(clone: Path, change: str) -> None:
    environment_in(clone)
    assert common(clone, "done_with stamp").returncode == 0
    if change == "moved":
        clone = clone.rename(clone.with_name("elsewhere"))
    elif change == "another Python":
        stamp = clone / "stamp"
        stamp.write_text(stamp.read_text().replace("cpython-3", "cpython-2"))
    elif change == "no Python":
        (clone / ".venv" / "bin" / "python").unlink()
    believed = common(clone, "current stamp && echo believed").stdout == "believed\n"
    assert believed == (change == "nothing")


def test_a_moved_clone_is_installed_anew_and_keeps_its_models(clone: Path) -> None:
    environment_in(clone)
    common(clone, "done_with .venv/.bootstrapped")
    models = clone / ".venv" / "share" / "inhouse" / "models"
    models.mkdir(parents=True)
    (models / "a.gguf").write_text("kept")
    (clone / ".venv" / ".installed-runtime").write_text("as it was there")
    clone = clone.rename(clone.with_name("elsewhere"))
    done = subprocess.run(
        ["scripts/bootstrap"], cwd=clone, env=clean(), capture_output=True, text=True, check=False,
        timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("making .venv with Python 3")
    assert not (clone / ".venv" / ".installed-runtime").exists()
    assert (clone / ".venv" / "share" / "inhouse" / "models" / "a.gguf").read_text() == "kept"
    again = subprocess.run(["scripts/bootstrap"], cwd=clone, env=clean(), capture_output=True,
                           text=True, check=False, timeout=60)  # fmt: skip
    assert (again.returncode, again.stderr) == (0, "")


def program(directory: Path, name: str, script: str) -> str:
    """A PATH on which a program of this name comes first."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def test_an_environment_that_cannot_be_made_anew_leaves_the_old_one(
    clone: Path, tmp_path: Path
) -> None:
    environment_in(clone)
    (clone / ".venv" / "kept").write_text("here")
    (clone / ".venv" / ".bootstrapped").write_text("of another place")
    script = f'case $* in *venv*) exit 1 ;; esac; exec "{sys.executable}" "$@"'
    done = subprocess.run(
        ["scripts/bootstrap"], cwd=clone, capture_output=True, text=True, check=False, timeout=60,
        env=clean(PATH=program(tmp_path / "bin", "python3", script)),
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot make a virtual environment" in done.stderr
    assert (clone / ".venv" / "kept").read_text() == "here"
    assert not (clone / ".cache" / "venv").exists()


def test_a_clone_behind_a_link_is_installed_once(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(clone)
    for expected in (True, False):
        done = subprocess.run(
            ["./link/scripts/bootstrap"], cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=110, env=clean(CDPATH="/:/tmp", PWD=str(tmp_path / "link")),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert done.stderr.startswith("making .venv") is expected


def test_a_date_that_knows_whole_seconds_only(clone: Path, tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "date", "exec /bin/date +%s")
    done = common(clone, 'step "doing it" true', PATH=path)
    assert done.returncode == 0
    assert done.stderr == "doing it ... 0.0 s\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_cannot_be_written_is_one_sentence() -> None:
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory)
        clone.chmod(0o755)
        shutil.copytree(ROOT / "scripts", clone / "scripts")
        done = subprocess.run(
            ["scripts/bootstrap"], cwd=clone, capture_output=True, text=True, check=False,
            timeout=60, env=clean(), user=12345, group=12345, extra_groups=[],
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, f"bootstrap: {directory} cannot be written\n")


def test_what_would_send_pip_astray_is_taken_away_and_the_index_kept(clone: Path) -> None:
    unwanted = [line for line in (ROOT / "scripts" / "pip-unset").read_text().splitlines()
                if not line.startswith("#")]  # fmt: skip
    assert {"PIP_TARGET", "PIP_DRY_RUN", "PIP_REQUIRE_HASHES", "PIP_USER", "PIP_PREFIX"} < set(
        unwanted
    )
    kept = {"PIP_INDEX_URL": "x", "PIP_FIND_LINKS": "y", "PIP_CERT": "z", "PIP_NO_INDEX": "1"}
    seen = common(clone, "env", **kept, **dict.fromkeys(unwanted, "x")).stdout.splitlines()
    names = {line.partition("=")[0] for line in seen}
    assert set(kept) <= names
    assert names & set(unwanted) == set()


def test_on_a_terminal_a_step_is_one_line_with_a_clock(clone: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-euc", '. scripts/common.sh; step "installing it" sleep 1.5'],
        cwd=clone, env=clean(), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 1000):
            said += data
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    shown = said.decode().replace("\r\n", "\n")
    assert shown.count("\n") == 1
    times = [part.strip() for part in shown.split("\r") if part]
    assert times[:2] == ["installing it ... 0 s", "installing it ... 1 s"]
    assert times[-1].startswith("installing it ... 1.")


def test_what_was_installed_must_run(clone: Path) -> None:
    """Packages that pip calls installed, and that cannot be imported, get no stamp."""
    environment_in(clone)
    fake = clone / "pip" / "__main__.py"
    fake.parent.mkdir()
    fake.write_text("")
    site = next((clone / ".venv" / "lib").glob("python3*")) / "site-packages"
    shutil.move(fake.parent, site / "pip")
    done = subprocess.run(
        ["scripts/install", "runtime"], cwd=clone, env=clean(), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("install: it was installed and does not run: ModuleNotFoundError")
    assert not (clone / ".venv" / ".installed-runtime").exists()
