"""`inhouse login` as people run it, at a real provider: its file, its renewals, its end."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.conftest import environment
from tests.identity.idp_process import Idp, free_port, install
from tests.identity.minting import signer

from inhouse.identity.tokenfile import Kept

CLIENT = {
    "client_id": "cli",
    "application_type": "native",
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "redirect_uris": ["http://127.0.0.1/callback"],
}


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idp]:
    install()
    idp = Idp(tmp_path_factory.mktemp("idp"), free_port())
    idp.environment["ACCESS_TOKEN_S"] = "31"  # good for a second, as 30 s before the end is late
    idp.register(CLIENT)
    idp.publish(signer("1", "RS256"))
    idp.start()
    yield idp
    idp.stop()


class Person:
    """At a terminal, with a browser beside it."""

    def __init__(self, home: Path, issuer: str) -> None:
        self.environment = environment(
            XDG_CONFIG_HOME=str(home), INHOUSE_ISSUER=issuer, INHOUSE_CLIENT_ID="cli"
        )
        self.file = home / "inhouse" / "login.json"

    def runs(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "inhouse", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    @contextlib.contextmanager
    def logging_in(self, *more: str) -> "Iterator[tuple[subprocess.Popen[str], str]]":
        """The command, waiting; and the address that it told."""
        command = [sys.executable, "-m", "inhouse", "login", "--no-browser", *more]
        process = subprocess.Popen(
            command, env=self.environment, stdout=-1, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "open in a browser:\n"
            yield process, process.stderr.readline().strip()
        finally:
            process.kill()
            process.communicate()

    def logs_in(self) -> str:
        scope = "openid profile groups offline_access"
        with self.logging_in("--consent", "--scope", scope) as (process, url):
            with httpx.Client(follow_redirects=True, timeout=20) as browser:
                page = browser.get(url)
                form = {"user": "anna", "password": "correct horse"}
                page = browser.post(str(page.url), data=form)
                assert "Go back to your terminal" in page.text
            out, _ = process.communicate(timeout=30)
            assert process.returncode == 0
            return out

    @property
    def kept(self) -> Kept:
        return msgspec.json.decode(self.file.read_bytes(), type=Kept)


@pytest.fixture
def person(idp: Idp, tmp_path: Path) -> Person:
    return Person(tmp_path / "config", idp.url)


def test_login_whoami_renewal_logout(person: Person, idp: Idp) -> None:
    assert person.runs("whoami").returncode == 1
    assert person.runs("login", "--print-token").returncode == 1
    assert person.logs_in() == f"logged in as Anna Ä. (u-anna at {idp.url})\n"
    assert (person.file.stat().st_mode & 0o777, person.file.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    who = json.loads(person.runs("whoami", "--json").stdout)
    assert (who["subject"], who["groups"]) == ("u-anna", ["ops", "research"])
    first = person.kept
    assert first.access_token not in person.runs("whoami").stdout
    assert first.refresh_token
    time.sleep(max(0.0, first.expires - 30 - time.time()) + 0.1)
    printed = person.runs("login", "--print-token")
    assert printed.returncode == 0, printed.stderr
    second = person.kept
    assert printed.stdout.strip() == second.access_token != first.access_token
    assert second.refresh_token
    done = person.runs("logout")
    assert done.stdout == "logged out, here and at the provider\n", done.stderr
    assert not person.file.exists()
    assert "POST /token/revocation" in idp.said
    late = msgspec.structs.replace(second, expires=0.0)
    person.file.write_bytes(msgspec.json.encode(late))
    person.file.chmod(0o600)
    refused = person.runs("login", "--print-token")
    assert (refused.returncode, "invalid_grant" in refused.stderr) == (2, True)


def test_what_else_comes_to_the_port(person: Person) -> None:
    """Another page of this machine, an answer without the state, a name that leads here."""
    with person.logging_in() as (process, url):
        query = httpx.URL(url).params
        port = httpx.URL(query["redirect_uri"]).port
        own = f"http://127.0.0.1:{port}"
        assert query["code_challenge_method"] == "S256"
        with httpx.Client() as other:
            assert other.get(f"{own}/favicon.ico").status_code == 404
            assert other.get(f"{own}/callback?code=x&state=y").status_code == 400
            assert other.get(f"{own}/callback").status_code == 400
            good = f"{own}/callback?code=x&state={query['state']}"
            assert other.get(good, headers={"host": f"evil.example:{port}"}).status_code == 404
            assert process.poll() is None
            mixed = other.get(f"{good}&iss=https%3A%2F%2Fevil.example")
            assert mixed.status_code == 200
        _, error = process.communicate(timeout=30)
        assert (process.returncode, "not of the provider" in error) == (1, True)
    assert not person.file.exists()


def test_nobody_comes(person: Person) -> None:
    with person.logging_in("--wait", "1") as (process, _):
        _, error = process.communicate(timeout=30)
        assert (process.returncode, "nobody logged in within 1 s" in error) == (1, True)


def test_files_that_are_not_as_we_leave_them(person: Person) -> None:
    person.file.parent.mkdir(parents=True)
    kept = Kept("i", "c", "s", "n", [], [], "secret-token", "", time.time() + 3600)
    person.file.write_bytes(msgspec.json.encode(kept))
    person.file.chmod(0o644)
    refused = person.runs("login", "--print-token")
    assert (refused.returncode, "may be read by others" in refused.stderr) == (2, True)
    assert "secret-token" not in refused.stdout + refused.stderr
    person.file.chmod(0o600)
    assert person.runs("login", "--print-token").stdout == "secret-token\n"
    person.file.write_bytes(b"{")
    assert person.runs("whoami").returncode == 2
    person.file.unlink()
    person.file.symlink_to("/dev/zero")
    assert person.runs("whoami").returncode == 2
    assert person.runs("logout").returncode == 0
    assert not person.file.is_symlink()


def test_a_provider_that_is_not_known(person: Person, tmp_path: Path) -> None:
    for name in ("INHOUSE_ISSUER", "INHOUSE_CLIENT_ID"):
        del person.environment[name]
    assert "give --issuer URL" in person.runs("login").stderr
    plain = person.runs("login", "--issuer", "http://idp.example", "--client-id", "x")
    assert (plain.returncode, "must be https" in plain.stderr) == (2, True)
    away = f"http://127.0.0.1:{free_port()}"
    gone = person.runs("login", "--issuer", away, "--client-id", "x")
    assert (gone.returncode, "cannot be had" in gone.stderr) == (2, True)
