"""What [store] may say, and that no password of it is ever shown."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import environment

from inhouse.config.load import load_config
from inhouse.config.place import PostgresqlServer
from inhouse.errors import ConfigurationError

MODELS = '[models]\nm = "vllm://127.0.0.1:1/m"\n'


def place(tmp_path: Path, store: str) -> PostgresqlServer:
    file = tmp_path / "inhouse.toml"
    file.write_text(f"{MODELS}[store]\n{store}\n")
    found = load_config(file, tmp_path / "data", {}).database
    assert isinstance(found, PostgresqlServer)
    return found


def problem(tmp_path: Path, store: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        place(tmp_path, store)
    assert len(refused.value.problems) == 1
    return str(refused.value)


def test_an_address_in_full(tmp_path: Path) -> None:
    found = place(tmp_path, 'url = "postgresql://in%40house:hunter%2F2@[::1]:5433/the%20state"')
    assert (found.user, found.host, found.port, found.name, found.sslmode) == (
        "in@house", "::1", 5433, "the state", "prefer"
    )  # fmt: skip
    assert found.password.reveal() == "hunter/2"
    assert str(found) == "postgresql://in%40house@[::1]:5433/the%20state"
    assert "hunter" not in repr(found)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("", "/var/run/postgresql"), ("%2Frun%2Fpg", "/run/pg"), ("localhost", "localhost")],
)
def test_on_this_machine_no_certificate_is_needed(tmp_path: Path, host: str, expected: str) -> None:
    found = place(tmp_path, f'url = "postgresql://u@{host}/d"')
    assert (found.host, found.port, found.sslmode) == (expected, 5432, "prefer")


def test_beyond_this_machine_certificates_are_verified(tmp_path: Path) -> None:
    url = 'url = "postgresql://u@db.lan/d"\n'
    assert "store.ca: is missing: the PEM file of the authority" in problem(tmp_path, url)
    assert "store.ca = " in problem(tmp_path, f'{url}ca = "nowhere.pem"')
    (tmp_path / "ca.pem").write_text("a certificate")
    found = place(tmp_path, f'{url}ca = "ca.pem"')
    assert (found.sslmode, found.authority) == ("verify-full", tmp_path / "ca.pem")
    assert place(tmp_path, f'{url}sslmode = "require"').sslmode == "require"


def test_a_password_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    given = 'password = { file = "password" }'
    assert place(tmp_path, f'url = "postgresql://u@/d"\n{given}').password.reveal() == "hunter2"
    said = problem(tmp_path, f'url = "postgresql://u:hunter3@/d"\n{given}')
    assert said == "store.password = ***: stands in store.url too; give it once"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://hunter2@host",
        "postgresql://host/hunter2",
        "postgresql://:hunter2@host/d",
        "postgresql://u:hunter2@host/",
        "postgresql://u:hunter2@host:0/d",
        "postgresql://u:hunter2@host:65536/d",
        "postgresql://u:hunter2@host:x/d",
        "postgresql://u:hunter2@a,b/d",
        "postgresql://u:hunter2@[::g]/d",
        "postgresql://u:hunter2@-host/d",
        "postgresql://u:hunter2@host/d?sslmode=disable",
        "postgresql://u:hunter2@host/d#x",
        "postgresql://u:hunt%00er2@host/d",
        "postgresql://u:hunter2%ff@host/d",
        "postgresql://u:hun@ter2@host/d",
        "postgresql://u:hunter2@ho%0Ast/d",
        "postgres://u:hunter2@host/d",
        "mysql://u:hunter2@host/d",
    ],
)
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    said = problem(tmp_path, f"url = '{url}'")
    assert said.startswith("store.url = ***: must be ")
    assert "postgresql://USER@HOST:PORT/NAME" in said
    assert "hun" not in said


@pytest.mark.parametrize("line", ['password = "hunter2"', 'sslmode = "require"', 'ca = "x"'])
def test_what_is_for_a_server_alone(tmp_path: Path, line: str) -> None:
    said = problem(tmp_path, line)
    assert said.endswith("goes with a store.url of postgresql:// alone")
    assert "hunter2" not in said


def test_check_shows_no_password(tmp_path: Path) -> None:
    file = tmp_path / "inhouse.toml"
    file.write_text(f'{MODELS}[store]\nurl = "postgresql://anna:hunter2@127.0.0.1:5433/d"\n')
    for options in ([], ["--json"], ["--origins"], ["--origins", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "inhouse", "check", "--config", str(file), *options],
            capture_output=True, text=True, check=True, env=environment(),
        )  # fmt: skip
        assert "hunter2" not in done.stdout + done.stderr
        if not options:
            assert "state          PostgreSQL at 127.0.0.1:5433, TLS: prefer\n" in done.stdout
