"""`inhouse users`, `teams`, `roles`, `grants` and `access`, as they are typed."""

import json
from typing import Any

import pytest

from inhouse.__main__ import run
from inhouse.config.schema import Config


class Terminal:
    """Runs commands on one data directory."""

    def __init__(self, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = ["--config", str(config.file), "--data", str(config.data)]
        self._capsys = capsys

    def run(self, line: str, *more: str) -> tuple[int, str, str]:
        """Status, standard output, standard error."""
        self._capsys.readouterr()
        status = run([*line.split(), *more, *self._options])
        out, err = self._capsys.readouterr()
        return status, out, err

    def json(self, line: str, *more: str) -> Any:
        status, out, err = self.run(line, *more, "--json")
        assert status == 0, err
        return json.loads(out)

    def refused(self, line: str, *more: str) -> tuple[int, str]:
        status, out, err = self.run(line, *more)
        assert out == ""
        assert len(err.splitlines()) == 1, err
        return status, err.removeprefix("inhouse: ").strip()


@pytest.fixture
def terminal(in_a_file: Config, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(in_a_file, capsys)


def test_a_day_of_somebody_who_decides_who_may_do_what(terminal: Terminal) -> None:
    anna = terminal.json("users create anna --issuer https://login.example --subject a-1")
    assert (anna["kind"], anna["state"]) == ("person", "active")
    assert terminal.run("keys create billing --dialects ollama --purposes support")[0] == 0
    (key,) = terminal.json("keys list")
    assert (key["dialects"], key["purposes"], key["models"]) == (["ollama"], ["support"], None)
    terminal.json("teams create desk")
    terminal.json("teams add desk anna")
    terminal.json("roles set helpdesk --permissions users:read,keys:read --about", "the help desk")
    given = terminal.json("grants give desk helpdesk --team --expires 7d --reason", "ticket 1")
    assert (given["holder"], given["models"], given["origin"]) == ("team desk", ["any"], "given")
    group = terminal.json("grants give staff user --group --models m --purposes coding")
    assert (group["holder"], group["models"], group["purposes"]) == (
        "group staff", ["m"], ["coding"],
    )  # fmt: skip
    shown = terminal.json("users show anna")
    assert (shown["teams"], shown["permissions"]) == (["desk"], ["keys:read", "users:read"])
    asked = terminal.json("access request operator --for anna --until 7d --reason", "on call")
    assert [each["id"] for each in terminal.json("access list")] == [asked["id"]]
    status, said = terminal.refused(f"access approve {asked['id']}")
    assert (status, said) == (1, "nobody approves their own request; somebody else may")
    assert terminal.json(f"access deny {asked['id']} --note", "not this week")["state"] == "denied"
    glass = terminal.json("access break-glass admin --for anna --minutes 5 --reason", "disk full")
    assert glass["origin"] == "break-glass"
    assert "users:write" in terminal.json("users show anna")["permissions"]
    revoked = terminal.json(f"grants revoke {glass['id']}")
    assert revoked["role"] == "admin"
    assert glass["id"] not in [each["id"] for each in terminal.json("grants list")]
    assert glass["id"] in [each["id"] for each in terminal.json("grants list --all")]
    assert terminal.json("users deactivate anna --reason left")["state"] == "inactive"
    assert terminal.json("users unseen") == []
    terminal.json("users reactivate anna")
    terminal.json("teams take-away desk anna")
    terminal.json("teams remove desk")
    terminal.json("roles remove helpdesk")
    terminal.json("users remove anna")
    assert [user["name"] for user in terminal.json("users list")] == ["billing"]
    status, out, _ = terminal.run("audit search --outcome changed --limit 100")
    assert status == 0
    for said in ("user anna: break-glass (disk full)", "deactivated (left)", "helpdesk: removed"):
        assert said in out


def test_tables_for_people(terminal: Terminal) -> None:
    terminal.run("keys create billing")
    _, out, _ = terminal.run("users list")
    head, row = out.splitlines()
    assert head.split() == ["id", "kind", "name", "state", "last", "seen", "source"]
    assert row.split()[1:] == ["service", "billing", "active", "key"]
    _, out, _ = terminal.run("grants list")
    assert out.splitlines()[1].split()[1:7] == ["user", "billing", "service", "any", "any", "any"]
    _, out, _ = terminal.run("users show billing")
    assert "permissions:  models:use\n" in out
    assert "last_seen:    -\n" in out
    _, out, _ = terminal.run("roles list")
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["user", "service", "operator"]
    assert terminal.run("access list")[1] == "no requests\n"


def test_a_pair_that_is_broken_is_shown(terminal: Terminal) -> None:
    terminal.run("users create bot")
    terminal.run("grants give bot auditor")
    terminal.run("grants give bot admin")
    _, out, _ = terminal.run("users show bot")
    assert "note: audit:read and grants:write may not be had together; both are gone\n" in out


REFUSED = [
    ("users show ana", 1, "there is no user 'ana'; near: anna"),
    ("users deactivate nobody", 1, "there is no user 'nobody'; see: inhouse users list"),
    ("teams add desk anna", 1, "there is no team 'desk'; see: inhouse teams list"),
    ("grants give anna operater", 1, "there is no role 'operater'; near: operator"),
    ("grants give anna user --team --group", 2, "--team and --group are two kinds of holder"),
    ("grants give anna user --dialects grpc", 2, "'grpc' is no dialect; there are openai, "),
    ("grants give anna user --expires soon", 2, "'soon' is no time; write 90d, 12h or a date"),
    ("grants revoke grt_x", 1, "there is no grant 'grt_x'; see: inhouse grants list"),
    ("roles set admin --permissions users:read", 1, "the role 'admin' comes with Inhouse"),
    ("roles set desk --permissions user:read", 2, "'user:read' is no permission; near: users:read"),
    ("access approve acc_x", 1, "there is no request 'acc_x'; see: inhouse access list"),
    ("keys create laptop --user ana", 1, "there is no user 'ana'; near: anna"),
]


@pytest.mark.parametrize(("line", "status", "sentence"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_is_refused_is_one_sentence(
    terminal: Terminal, line: str, status: int, sentence: str
) -> None:
    terminal.run("users create anna")
    found, said = terminal.refused(line)
    assert found == status
    assert said.startswith(sentence)


def test_a_place_without_a_database_is_told(terminal: Terminal, in_a_file: Config) -> None:
    for line in ("users list", "teams list", "grants list", "access list", "roles list"):
        status, said = terminal.refused(line)
        assert (status, said) == (2, f"there are no users in {in_a_file.data}")


def test_what_was_taken_away_stays_away_and_a_key_says_so(terminal: Terminal) -> None:
    terminal.run("keys create bot")
    (grant,) = terminal.json("grants list")
    terminal.json(f"grants revoke {grant['id']}")
    status, _, err = terminal.run("keys create bot")
    assert status == 0
    assert (
        f"no grant lets bot ask a model; give one with: inhouse grants give {grant['holder_id']}"
        in err
    )
