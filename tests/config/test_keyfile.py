"""Keys in files: made once, whole, for their owner alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from inhouse.config.keyfile import read_existing, read_or_create
from inhouse.errors import UsageError


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "a.key"
    key = read_or_create(path)
    assert len(key) == 32
    assert read_or_create(path) == key == read_existing(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["a.key"]


def test_two_processes_get_one_key(tmp_path: Path) -> None:
    code = "import sys, pathlib; from inhouse.config.keyfile import read_or_create; "
    code += "print(read_or_create(pathlib.Path(sys.argv[1])).hex())"
    command = [sys.executable, "-c", code, str(tmp_path / "a.key")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate()[0] for process in processes}) == 1


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    read_or_create(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"may be read by others \(mode 640\); run: chmod 600"):
        read_or_create(path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(UsageError, match="does not hold a key of 32 bytes"):
        read_or_create(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_existing(tmp_path / "none")
