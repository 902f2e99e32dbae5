"""`inhouse audit`, as it is typed."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.audit.test_secrets import INTENT

from inhouse.__main__ import run
from inhouse.audit.actor import actor
from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.log import append_once
from inhouse.audit.read import records
from inhouse.audit.record import Denial, KeyChanged, Outcome, Read
from inhouse.audit.secrets import fingerprint_key
from inhouse.audit.segment import segments
from inhouse.config.load import load_config
from inhouse.config.owner import user_name
from inhouse.config.schema import Config
from inhouse.errors import UsageError

NOBODY = 12345


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A log with one request of anna's, and one denial whose prompt was read."""
    monkeypatch.chdir(tmp_path)
    config = load_config(None, tmp_path / "data", {})
    print_of = Fingerprinter(fingerprint_key(config)).of_text
    append_once(
        config,
        INTENT,
        Outcome("req_1", 2.0, "answered", 200),
        Denial(
            "req_2",
            3.0,
            "127.0.0.1",
            "/v1/chat/completions",
            "denied",
            403,
            "content_blocked",
            principal_name="Otto",
            fingerprint=print_of("the secret\nplan"),
            fingerprint_last=print_of("the secret\nplan"),
        ),
    )
    return config


def said(
    capsys: pytest.CaptureFixture[str], config: Config, *arguments: str
) -> tuple[int, str, str]:
    """Status, standard output and standard error of `inhouse audit ...`."""
    capsys.readouterr()
    status = run(["audit", *arguments, "--data", str(config.data)])
    out, err = capsys.readouterr()
    return status, out, err


def found(capsys: pytest.CaptureFixture[str], config: Config, *arguments: str) -> list[str]:
    _, out, _ = said(capsys, config, "search", "--json", *arguments)
    return [json.loads(line)["request_id"] for line in out.splitlines()]


def reads(config: Config) -> list[str]:
    every = records(config.audit_directory)
    return [record.what for record in every if isinstance(record, Read)]


# search


@pytest.mark.parametrize("content", ["the secret\nplan", "the secret\nplan\n"])
def test_a_text_in_a_file_finds_what_was_denied_too(
    capsys: pytest.CaptureFixture[str], config: Config, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(content)
    assert found(capsys, config, "--text-file", str(file)) == ["req_2"]


def test_a_search_is_recorded_with_what_it_looked_for(
    capsys: pytest.CaptureFixture[str], config: Config
) -> None:
    found(capsys, config, "--text", "the secret\nplan", "--who", "otto", "--since", "1970-01-01")
    fingerprint = Fingerprinter(fingerprint_key(config)).of_text("the secret\nplan")
    assert reads(config) == [f"search who=otto fingerprint={fingerprint}"]
    found(capsys, config, "--outcome", "denied", "--until", "2026-01-31", "--id", "req_2")
    assert reads(config)[1] == "search outcome=denied id=req_2 until=2026-01-31T00:00:00Z"
    log = b"".join(path.read_bytes() for path in segments(config.audit_directory))
    assert b"secret" not in log


def test_tail_is_recorded(capsys: pytest.CaptureFixture[str], config: Config) -> None:
    assert len(said(capsys, config, "tail", "-n", "1")[1].splitlines()) == 1
    assert reads(config) == ["tail -n 1"]


def test_following_is_recorded_as_such(config: Config) -> None:
    command = [sys.executable, "-m", "inhouse", "audit", "tail", "-f", "--data", str(config.data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(2)]
        append_once(config, Denial("req_3", 4.0, "127.0.0.1", "/", "denied", 401))
        shown.append(process.stdout.readline())
        process.terminate()
    assert ["req_1" in shown[0], "req_2" in shown[1], "req_3" in shown[2]] == [True] * 3
    assert reads(config) == ["tail -n 20 -f"]


def test_names_are_found_in_any_case(capsys: pytest.CaptureFixture[str], config: Config) -> None:
    assert found(capsys, config, "--who", "oTTo") == ["req_2"]
    assert found(capsys, config, "--who", "ANN") == ["req_1"]


def test_the_newest_are_shown_and_the_others_are_told(
    capsys: pytest.CaptureFixture[str], config: Config
) -> None:
    status, out, err = said(capsys, config, "search", "--limit", "1")
    assert (status, out.split()[2], len(out.splitlines())) == (0, "req_2", 1)
    assert err == "left out: 1 older request; see --limit\n"
    assert said(capsys, config, "search", "--limit", "2")[2] == ""


def test_outcomes_are_a_closed_choice(capsys: pytest.CaptureFixture[str], config: Config) -> None:
    status, _, err = said(capsys, config, "search", "--outcome", "anwsered")
    assert status == 2
    assert err == (
        "inhouse: 'anwsered' is no outcome; there are answered, denied, refused, failed, "
        "truncated, cancelled, interrupted, running, changed\n"
    )
    assert said(capsys, config, "search", "--outcome", "running")[0] == 1


@pytest.mark.parametrize("since", ["99999999999999999999d", "1000000d", "2h ago", "2026-13-01"])
def test_a_time_that_is_none_is_a_sentence(
    capsys: pytest.CaptureFixture[str], config: Config, since: str
) -> None:
    status, _, err = said(capsys, config, "search", "--since", since)
    assert status == 2
    assert err == f"inhouse: '{since}' is no time; write 2026-01-31, 2026-01-31T08:00 or 2h\n"
    assert said(capsys, config, "search", "--since", "999999d")[0] == 0


def test_one_text_is_looked_for(
    capsys: pytest.CaptureFixture[str], config: Config, tmp_path: Path
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("\n")
    status, _, err = said(capsys, config, "search", "--text", "a", "--text-file", str(file))
    assert (status, err) == (2, "inhouse: --text and --text-file are two texts; give one\n")
    status, _, err = said(capsys, config, "search", "--text-file", str(file))
    assert (status, err) == (2, f"inhouse: {file} is empty\n")


def test_what_a_client_wrote_is_shown_on_one_line_and_moves_no_cursor(
    capsys: pytest.CaptureFixture[str], config: Config
) -> None:
    model = "m\n2026-11-24 11:57:45Z req_9 forged\x1b[2J\u202e"
    append_once(config, Denial("req_3", 4.0, "1.1.1.1", "/", "denied", 404, model=model))
    _, out, _ = said(capsys, config, "search", "--id", "req_3")
    assert len(out.splitlines()) == 1
    assert out.strip("\n").isprintable()
    assert "m\\n2026-11-24 11:57:45Z req_9 forged\\x1b[2J\\u202e" in out


# verify


def test_one_is_not_many(capsys: pytest.CaptureFixture[str], config: Config) -> None:
    status, out, _ = said(capsys, config, "verify")
    assert (status, out.startswith("3 records in 1 segment, 0 requests running, 0 findings")) == (
        0,
        True,
    )


def test_a_wrong_key_is_one_finding(
    capsys: pytest.CaptureFixture[str], config: Config, tmp_path: Path
) -> None:
    key = tmp_path / "other.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    arguments = ["--directory", str(config.audit_directory), "--key", str(key)]
    status, out, _ = said(capsys, config, "verify", *arguments)
    assert status == 1
    assert out.splitlines()[-2] == "000001.jsonl: no record was written with this key"
    assert ", 1 finding (" in out.splitlines()[-1]


def test_the_first_findings_are_shown(capsys: pytest.CaptureFixture[str], config: Config) -> None:
    path = segments(config.audit_directory)[0]
    content = path.read_bytes()
    path.write_bytes(b"no record\n" * 50 + content)
    _, out, _ = said(capsys, config, "verify")
    lines = [line for line in out.splitlines() if not line.startswith("note")]
    assert len(lines) == 22
    assert lines[20] == "... and 30 more; --json has all"
    _, out, _ = said(capsys, config, "verify", "--json")
    assert len(json.loads(out)["findings"]) == 50


@pytest.mark.parametrize("name", ["000002.jsonl", "head.json"])
def test_a_directory_where_a_file_belongs_is_a_finding(
    capsys: pytest.CaptureFixture[str], config: Config, name: str
) -> None:
    path = config.audit_directory / name
    path.unlink(missing_ok=True)
    path.mkdir()
    status, out, _ = said(capsys, config, "verify")
    assert status == 1
    assert f"{name}: cannot be read: Is a directory" in out.splitlines()


def test_a_directory_where_a_segment_belongs_is_a_sentence(
    capsys: pytest.CaptureFixture[str], config: Config
) -> None:
    (config.audit_directory / "000002.jsonl").mkdir()
    for verb in ("tail", "search"):
        status, _, err = said(capsys, config, verb)
        assert status == 2
        assert "Is a directory" in err


def test_a_file_that_is_no_key_is_told_so(
    capsys: pytest.CaptureFixture[str], config: Config
) -> None:
    arguments = ["--directory", str(config.audit_directory), "--key", "/etc/passwd"]
    status, _, err = said(capsys, config, "verify", *arguments)
    assert status == 2
    assert "/etc/passwd does not hold a key of 32 bytes" in err
    assert "chmod" not in err


# Who


def test_no_variable_says_who_runs_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    monkeypatch.delenv("SUDO_USER", raising=False)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert actor() == f"local:{me}"
    monkeypatch.setenv("SUDO_USER", "anna")
    assert actor() == f"local:{me} (sudo by anna)"
    monkeypatch.setenv("SUDO_USER", "anna)\nforged")
    assert actor() == f"local:{me}"
    assert user_name(4_000_000) == "uid:4000000"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@pytest.fixture
def theirs(config: Config) -> Iterator[Config]:
    """The same log, which belongs to another user and stands where that one gets to."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        data = Path(directory) / "data"
        shutil.copytree(config.data, data)
        for path in (data, *data.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        yield load_config(None, data, {})


@needs_root
def test_root_reads_the_log_of_another_user_and_leaves_no_file_of_its_own(
    capsys: pytest.CaptureFixture[str], theirs: Config
) -> None:
    theirs.audit_directory.joinpath("lock").unlink()
    (theirs.secrets_directory / "audit.mark").unlink()
    for verb in ("tail", "search", "verify"):
        assert said(capsys, theirs, verb)[0] == 0
    owners = {path.stat().st_uid for path in theirs.data.rglob("*") if path.is_file()}
    assert owners == {NOBODY}
    assert (os.geteuid(), os.getegid()) == (0, 0)


@needs_root
@pytest.mark.parametrize("name", ["lock", "lock.wanted", "head.json", "000001.jsonl"])
def test_root_writes_to_nothing_that_a_link_leads_to(
    capsys: pytest.CaptureFixture[str], theirs: Config, tmp_path: Path, name: str
) -> None:
    victim = theirs.data.parent / "victim"
    victim.write_text("root's")
    victim.chmod(0o600)
    link = theirs.audit_directory / name
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    os.lchown(link, NOBODY, NOBODY)
    status, _, err = said(capsys, theirs, "tail")
    assert status in (0, 2)
    assert "Traceback" not in err
    assert victim.read_text() == "root's"
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (0, 0o600)


@needs_root
def test_a_directory_that_a_link_leads_to_is_its_makers(
    capsys: pytest.CaptureFixture[str], theirs: Config
) -> None:
    roots = theirs.data.parent / "roots"
    roots.mkdir()
    shutil.rmtree(theirs.audit_directory)
    theirs.audit_directory.symlink_to(roots)
    os.lchown(theirs.audit_directory, NOBODY, NOBODY)
    assert said(capsys, theirs, "tail")[0] == 2
    assert list(roots.iterdir()) == []


@needs_root
def test_root_changes_nothing_in_the_log_of_another_user(theirs: Config) -> None:
    change: Any = KeyChanged(1.0, "created", "a", "anna", "local:root")
    with pytest.raises(UsageError, match="belongs to uid:12345; run this as uid:12345"):
        append_once(theirs, change)
