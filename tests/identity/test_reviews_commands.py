"""`inhouse reviews`, `inhouse users onboard` and `offboard`, as they are typed."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import environment
from tests.identity.conftest import written
from tests.identity.test_access_commands import Terminal

from inhouse.config.schema import Config

TIMEOUT_S = 60


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Whoever runs the commands gave everything, and is alone."""
    return written(tmp_path, "[access]\nreview_separation = false\n")


@pytest.fixture
def terminal(config: Config, capsys: pytest.CaptureFixture[str]) -> Terminal:
    terminal = Terminal(config, capsys)
    for name in ("billing", "search", "support"):
        terminal.json(f"users create {name}")
        terminal.json(f"grants give {name} service --reason", "ticket 1")
    return terminal


def test_a_review_from_its_opening_to_its_report(terminal: Terminal, tmp_path: Path) -> None:
    opened = terminal.json("reviews open q3 --due 14d")
    assert (opened["state"], opened["items"], opened["undecided"]) == ("open", 3, 3)
    shown = terminal.json("reviews show q3")
    ids = {item["holder"]: item["grant"] for item in shown["items"]}
    assert shown["items"][0]["why"] == "ticket 1"
    (kept,) = terminal.json(f"reviews decide q3 {ids['billing']} --keep --reason", "in use")
    assert (kept["decision"], kept["reason"]) == ("keep", "in use")
    terminal.json(f"reviews decide q3 {ids['search']} --revoke --reason", "switched off")
    assert [each["undecided"] for each in terminal.json("reviews list")] == [1]
    assert terminal.json("reviews remind q3")["nobodys"] == 1
    status, said = terminal.refused("reviews close q3")
    assert status == 1
    assert said.endswith("or close it with --revoke-undecided")
    closed = terminal.json("reviews close q3 --revoke-undecided --note", "all is well")
    assert closed["counts"] == {"keep": 1, "revoke": 1, "unconfirmed": 1}
    assert [each["id"] for each in terminal.json("grants list")] == [ids["billing"]]
    assert terminal.json("reviews list") == []
    assert [each["state"] for each in terminal.json("reviews list --all")] == ["closed"]
    for option, name, digest in (("--json", "a.json", "json_sha256"), ("--csv", "a.csv", "csv_")):
        status, out, err = terminal.run(f"reviews report q3 {option}")
        assert status == 0
        assert closed[f"{digest.removesuffix('sha256')}sha256"] in err
        (tmp_path / name).write_text(out)
        proof = terminal.json(f"reviews verify {tmp_path / name}")
        assert (proof["name"], proof["note"]) == ("q3", "all is well")
    (tmp_path / "a.csv").write_text(out.replace("keep", "revoke"))
    status, said = terminal.refused(f"reviews verify {tmp_path / 'a.csv'}")
    assert status == 1
    assert "is no report of a review that was closed here" in said


def test_tables_for_people(terminal: Terminal) -> None:
    terminal.json("reviews open q3 --role service --reviewers local:anna")
    status, out, _ = terminal.run("reviews show q3")
    assert status == 0
    assert "about role service" in out.splitlines()[0]
    assert out.splitlines()[1] == "to be decided by local:anna"
    assert out.splitlines()[2] == "3 undecided, 0 decided, 0 gone"
    assert len(out.splitlines()) == 7
    status, out, _ = terminal.run("reviews list")
    assert out.splitlines()[0].split()[:2] == ["id", "name"]
    terminal.json("reviews assign q3 --anybody --due 60d --reason", "anna is away")
    assert terminal.json("reviews show q3")["reviewers"] is None


@pytest.mark.parametrize(
    ("line", "status", "sentence"),
    [
        ("reviews open q3 --role service --team desk", 2, "one of --role, --team, --model"),
        ("reviews open q3 --due soon", 2, "'soon' is no time"),
        ("reviews show q9", 1, "there is no review 'q9'"),
        ("reviews decide q3", 2, "to be asked takes a terminal"),
        ("reviews decide q3 --keep", 2, "name the grants"),
        ("reviews decide q3 grt_x", 2, "say --keep or --revoke"),
        ("reviews decide q3 grt_x --keep --revoke", 2, "say --keep or --revoke"),
        ("reviews decide q3 grt_x --keep", 2, "a reason is needed"),
        ("reviews assign q3", 2, "say which reviewers, or until when"),
        ("reviews report q3", 1, "is open; its report comes at its end"),
        ("reviews report q3 --csv --json", 2, "two forms; give one"),
        ("reviews verify /nowhere/at/all", 2, "cannot be read: No such file"),
        ("users offboard nobody --reason left", 1, "there is no user 'nobody'"),
        ("users offboard billing --reason", 2, "a reason is needed"),
        ("users onboard new --like nobody", 1, "there is no user 'nobody'"),
    ],
)
def test_what_is_refused_says_why(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, line: str, status: int, sentence: str
) -> None:
    if "open" not in line:
        terminal.json("reviews open q3")
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        found, said = terminal.refused(line, *([""] if line.endswith("--reason") else []))
    assert (found, sentence in said) == (status, True), said


def test_somebody_comes_and_leaves(terminal: Terminal) -> None:
    terminal.json("teams create desk")
    begun = terminal.json("users onboard carl --like billing --teams desk")
    assert begun["teams"] == ["desk"]
    assert [each.split()[1] for each in begun["grants"]] == ["service"]
    terminal.run("keys create laptop --user carl")
    taken = terminal.json("users offboard carl --reason left")
    assert (len(taken["keys"]), len(taken["grants"]), taken["teams"]) == (1, 1, ["desk"])
    assert terminal.json("users show carl")["state"] == "inactive"
    status, said = terminal.refused("users offboard carl --reason left")
    assert (status, said) == (1, "carl is inactive and has nothing left")


def typed(config: Config, keys: str) -> tuple[int, str]:
    """`reviews decide q3` at a real terminal, where somebody types this."""
    ours, theirs = pty.openpty()
    command = [
        sys.executable, "-m", "inhouse", "reviews", "decide", "q3",
        "--config", str(config.file), "--data", str(config.data),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, keys.encode())
        out, _ = process.communicate(timeout=TIMEOUT_S)
        os.close(ours)
    return process.returncode, out


def test_one_after_the_other_at_a_terminal(terminal: Terminal, config: Config) -> None:
    terminal.json("reviews open q3")
    status, out = typed(config, "maybe\nk\n\nin use\ns\nr\n\n")
    assert status == 0, out
    assert "1 of 3: user billing has the role service" in out
    assert "given by:  local:" in out
    assert "why? [in use]" in out, "Enter repeats the last reason"
    assert "decided on 2 of 3 in 'q3'" in out
    items = terminal.json("reviews show q3")["items"]
    assert [(item["decision"], item["reason"]) for item in items] == [
        ("keep", "in use"), ("", ""), ("revoke", "in use")
    ]  # fmt: skip


def test_who_leaves_goes_on_where_they_were(terminal: Terminal, config: Config) -> None:
    terminal.json("reviews open q3")
    status, out = typed(config, "k\nin use\nq\n")
    assert (status, "decided on 1 of 3" in out) == (0, True)
    status, out = typed(config, "k\nin use\n\x04")  # Ctrl-D
    assert (status, "decided on 1 of 2" in out) == (0, True)
    status, out = typed(config, "r\nnot in use\n")
    assert (status, "1 of 1: user support" in out) == (0, True)
    assert [i["decision"] for i in terminal.json("reviews show q3")["items"]] == [
        "keep", "keep", "revoke"
    ]  # fmt: skip
    assert json.loads(terminal.run("reviews close q3 --json")[1])["counts"]["revoke"] == 1
