"""The provider's keys while the provider behaves, and while it does not."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.identity.minting import NOW, signer
from tests.identity.provider import DISCOVERY, Documents, serving

from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.errors import UsageError
from inhouse.identity.jwk import read_keys
from inhouse.identity.jwks import FILE_NAME, ProviderKeys, merged
from inhouse.identity.wire import MAX_ANSWER_BYTES

ONE, TWO = signer("one", "RS256"), signer("two", "ES256")


def config(directory: Path, **oidc: Any) -> Config:
    """[oidc] with fetches as quick as they can be configured."""
    loaded = load_config(None, directory / "data", {})
    quick: dict[str, Any] = {"audiences": ["inhouse"], "fetch_timeout_s": 0.5, "refresh_min_s": 1}
    section = replace(loaded.settings.oidc, **quick | oidc)
    return replace(loaded, settings=replace(loaded.settings, oidc=section))


@contextmanager
def following(loaded: Config, clock: Callable[[], float] = time.time) -> Iterator[ProviderKeys]:
    keys = ProviderKeys(loaded, clock=clock)
    keys.start()
    try:
        yield keys
    finally:
        keys.stop()


def eventually(condition: Callable[[], object], within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def names(keys: ProviderKeys) -> set[str]:
    return {kid for kid, _ in keys.keys}


@pytest.fixture
def documents() -> Documents:
    return Documents([ONE.jwk()])


async def test_keys_are_found_by_discovery(tmp_path: Path, documents: Documents) -> None:
    with serving(documents) as url, following(config(tmp_path, issuer=url)) as keys:
        assert await keys.renewed()
        assert names(keys) == {"one"}
        assert keys.away_since is None
        assert keys.good_until > time.time() + 14_000
    assert documents.asked == [DISCOVERY, "/jwks"]


async def test_keys_at_an_address_that_is_configured(tmp_path: Path, documents: Documents) -> None:
    with serving(documents) as url:
        loaded = config(tmp_path, issuer="https://login.example.test", jwks_url=f"{url}/jwks")
        with following(loaded) as keys:
            assert await keys.renewed()
            assert names(keys) == {"one"}
    assert documents.asked == ["/jwks"]


def refused_for(tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture) -> str:
    """The alarm of a provider whose keys are not taken."""
    with serving(documents) as url, following(config(tmp_path, issuer=url)) as keys:
        eventually(lambda: caplog.records)
        assert names(keys) == set()
        assert keys.away_since == 0
    assert caplog.records[-1].levelno == logging.ERROR
    return caplog.records[-1].getMessage()


@pytest.mark.parametrize("tail", ["/", "x", "?"])
def test_an_issuer_of_another_name_is_not_ours(
    tail: str, tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(documents) as url:
        documents.discovery = {"issuer": url + tail}
        with following(config(tmp_path, issuer=url)) as keys:
            eventually(lambda: caplog.records)
            assert names(keys) == set()
    assert "to the last character" in caplog.text


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://login.example.test/jwks", "no jwks_uri with https"),
        ("https://mallory.test/jwks", "at another host"),
        ("http://localhost:1/jwks", "at another host"),
        ("http://127.0.0.1@mallory.test/jwks", "no jwks_uri with https"),
        ("file:///etc/passwd", "no jwks_uri with https"),
        ("http://127.0.0.1:1/\r\nHost: x", "no jwks_uri with https"),
        ("", "no jwks_uri with https"),
        (None, "no jwks_uri with https"),
        (["http://127.0.0.1/jwks"], "no jwks_uri with https"),
        ("http://[::1", "no jwks_uri with https"),
    ],
)
def test_keys_come_from_the_issuer_s_own_host(
    uri: Any, said: str, tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    documents.discovery = {"jwks_uri": uri}
    assert said in refused_for(tmp_path, documents, caplog)
    assert documents.fetches == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "answered 302"),
        ({"status": 500}, "answered 500"),
        ({"body": b"x" * (MAX_ANSWER_BYTES + 1)}, "larger than"),
        ({"headers": {"Content-Length": "1000000"}}, "IncompleteRead"),
        ({"headers": {"X": "y" * 70_000}}, "cannot be had"),
        ({"drip_s": 0.05}, "timed out"),
        ({"body": b""}, "is not JSON"),
        ({"body": b"<html>"}, "is not JSON"),
        ({"body": b'{"keys":[],"keys":[]}'}, "twice"),
        ({"body": b"[]"}, "is not a JSON object"),
        ({"body": b"[" * 100_000}, "nested too deep"),
        ({"body": b"{}"}, "has no list"),
        ({"body": b'{"keys":[]}'}, "no key that can be used"),
        ({"keys": [ONE.jwk(use="enc")]}, "no key that can be used"),
        ({"keys": [ONE.jwk(private=True)]}, "no key that can be used"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_that_is_no_set_of_keys(
    changes: dict[str, Any],
    said: str,
    tmp_path: Path,
    documents: Documents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in changes.items():
        setattr(documents, name, value)
    assert said in refused_for(tmp_path, documents, caplog)
    assert "/elsewhere" not in documents.asked


def test_what_is_wrong_with_a_key_is_said_once(
    tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    documents.keys.append(TWO.jwk(private=True))
    with (
        serving(documents) as url,
        following(config(tmp_path, issuer=url, refresh_max_s=1)) as keys,
    ):
        eventually(lambda: documents.fetches >= 3)
        assert names(keys) == {"one"}
    assert [record.getMessage() for record in caplog.records] == [
        "of the provider's keys, key 2 is published with its private or secret part; replace it "
        "at the provider"
    ]


def test_no_proxy_of_the_environment_is_used(
    tmp_path: Path, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(documents) as url, following(config(tmp_path, issuer=url)) as keys:
        eventually(lambda: names(keys) == {"one"})


# Refreshed ahead, and asked for


def test_keys_are_fetched_again_ahead_of_their_end(tmp_path: Path, documents: Documents) -> None:
    documents.headers = {"Cache-Control": "public, max-age=3600, must-revalidate"}
    with (
        serving(documents) as url,
        following(config(tmp_path, issuer=url, refresh_max_s=1)) as keys,
    ):
        eventually(lambda: documents.fetches >= 2)  # bounded above, whatever the provider says
        documents.keys = [ONE.jwk(), TWO.jwk()]
        eventually(lambda: names(keys) == {"one", "two"})


@pytest.mark.parametrize("header", ["max-age=0", "no-store", "no-cache, max-age=500", "max-age=1"])
def test_a_provider_cannot_be_asked_all_the_time(
    header: str, tmp_path: Path, documents: Documents
) -> None:
    documents.headers = {"Cache-Control": header}
    with (
        serving(documents) as url,
        following(config(tmp_path, issuer=url, refresh_min_s=3)) as keys,
    ):
        eventually(lambda: names(keys))
        time.sleep(1.5)
    assert documents.fetches == 1


async def test_an_unknown_key_is_asked_for_once_in_30_s(
    tmp_path: Path, documents: Documents
) -> None:
    with serving(documents) as url, following(config(tmp_path, issuer=url)) as keys:
        assert await keys.renewed()
        documents.keys = [ONE.jwk(), TWO.jwk()]
        assert names(keys) == {"one"}
        documents.wait.clear()
        waiting = [asyncio.ensure_future(keys.renewed()) for _ in range(200)]
        await asyncio.sleep(0.1)
        assert not any(each.done() for each in waiting)
        documents.wait.set()
        assert await asyncio.gather(*waiting) == [True] * 200
        assert names(keys) == {"one", "two"}
        for _ in range(200):
            assert await keys.renewed()
    assert documents.fetches == 2


async def test_a_request_does_not_wait_for_long(tmp_path: Path, documents: Documents) -> None:
    with serving(documents) as url:
        documents.wait.clear()
        loaded = config(tmp_path, issuer=url, key_wait_s=0.1, fetch_timeout_s=5.0)
        with following(loaded) as keys:
            assert not await keys.renewed()  # the provider has not answered, nor will it
            assert keys.keys == {}
            documents.wait.set()
            eventually(lambda: names(keys) == {"one"})


async def test_a_request_that_leaves_does_not_disturb_those_who_wait(
    tmp_path: Path, documents: Documents
) -> None:
    with serving(documents) as url:
        documents.wait.clear()
        with following(config(tmp_path, issuer=url, fetch_timeout_s=5.0)) as keys:
            leaves, stays = (asyncio.ensure_future(keys.renewed()) for _ in range(2))
            await asyncio.sleep(0.05)
            leaves.cancel()
            await asyncio.sleep(0.05)
            documents.wait.set()
            assert await stays
            assert leaves.cancelled()
            assert not keys._waiters


# Away, and back


def test_a_provider_that_is_away_is_survived_for_a_time(
    tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    now = [NOW]
    caplog.set_level(logging.WARNING, "inhouse.identity")
    with serving(documents) as url:
        loaded = config(tmp_path, issuer=url, refresh_max_s=1, stale_s=500)
        with following(loaded, clock=lambda: now[0]) as keys:
            eventually(lambda: names(keys) == {"one"})
            assert keys.good_until == NOW + 500
            documents.status = 503
            now[0] = NOW + 100
            eventually(lambda: keys.away_since is not None)
            assert keys.away_since == NOW
            assert names(keys) == {"one"}
            assert keys.good_until == NOW + 500
            assert "serve for 400 s more, then access tokens are refused" in caplog.text
            documents.status = 200
            eventually(lambda: keys.away_since is None)
            assert keys.good_until == NOW + 600
    assert "is back" in caplog.records[-1].getMessage()


def test_keys_of_the_disk_serve_while_the_provider_is_away(
    tmp_path: Path, documents: Documents
) -> None:
    with serving(documents) as url:
        loaded = config(tmp_path, issuer=url)
        with following(loaded, clock=lambda: NOW) as keys:
            eventually((loaded.data / FILE_NAME).exists)
    file = loaded.data / FILE_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    with following(loaded, clock=lambda: NOW + 100) as keys:
        assert names(keys) == {"one"}
        assert keys.good_until == NOW + 14_400
        eventually(lambda: keys.away_since == NOW)
    moved = replace(loaded.settings.oidc, issuer=url + "/other")
    other = replace(loaded, settings=replace(loaded.settings, oidc=moved))
    with following(other, clock=lambda: NOW + 100) as keys:
        assert names(keys) == set()
    with following(loaded, clock=lambda: NOW - 1) as keys:  # from the future: not believed
        assert names(keys) == set()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"\xff", b'{"at":1.0,"at":2.0}', b"junk" * 10_000],
    ids=lambda content: str(content)[:20],
)
def test_a_damaged_file_is_no_reason_not_to_start(
    content: bytes, tmp_path: Path, documents: Documents
) -> None:
    with serving(documents) as url:
        loaded = config(tmp_path, issuer=url)
        loaded.data.mkdir()
        (loaded.data / FILE_NAME).write_bytes(content)
        with following(loaded) as keys:
            eventually(lambda: names(keys) == {"one"})
        kept = json.loads((loaded.data / FILE_NAME).read_text())
        assert kept["jwks"] == {"keys": [ONE.jwk()]}


def test_a_disk_that_cannot_be_written_is_no_reason_not_to_serve(
    tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(documents) as url:
        loaded = config(tmp_path, issuer=url)
        (loaded.data / f".{FILE_NAME}.new").mkdir(parents=True)
        with following(loaded) as keys:
            eventually(lambda: names(keys) == {"one"} and caplog.records)
            assert keys.away_since is None
    assert "cannot be written" in caplog.text


def test_a_provider_that_never_was_there(tmp_path: Path) -> None:
    with following(config(tmp_path, issuer="http://127.0.0.1:1")) as keys:
        assert keys.away_since == 0
        assert keys.good_until == 0


# Withdrawn keys: a function


def read(*jwks: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return read_keys({"keys": list(jwks)}, ["RS256", "ES256"]).keys


def test_a_withdrawn_key_counts_for_its_grace() -> None:
    first = merged({}, read(ONE.jwk(), TWO.jwk()), NOW, 60)
    second = merged(first, read(TWO.jwk()), NOW + 100, 60)
    one, two = first["one", "RS256"], first["two", "ES256"]
    assert second == {("one", "RS256"): one, ("two", "ES256"): two}
    assert (one.until, two.until) == (NOW + 160, float("inf"))
    third = merged(second, read(TWO.jwk()), NOW + 150, 60)
    assert one.until == NOW + 160  # from when it was first seen to be gone
    assert set(third) == {("one", "RS256"), ("two", "ES256")}
    assert set(merged(third, read(TWO.jwk()), NOW + 160, 60)) == {("two", "ES256")}


def test_a_key_without_grace_ends_at_once() -> None:
    first = merged({}, read(ONE.jwk(), TWO.jwk()), NOW, 0)
    assert set(merged(first, read(TWO.jwk()), NOW + 1, 0)) == {("two", "ES256")}
    assert first["one", "RS256"].until == NOW + 1


def test_a_key_that_comes_back_is_the_same() -> None:
    first = merged({}, read(ONE.jwk()), NOW, 60)
    gone = merged(first, read(TWO.jwk()), NOW + 1, 60)
    back = merged(gone, read(ONE.jwk(), TWO.jwk()), NOW + 2, 60)
    assert back["one", "RS256"] is first["one", "RS256"]
    assert back["one", "RS256"].until == float("inf")


def test_a_name_that_is_given_to_another_key_ends_the_first_at_once() -> None:
    first = merged({}, read(ONE.jwk()), NOW, 60)
    other = signer("another", "RS256").jwk(kid="one")
    second = merged(first, read(other), NOW + 1, 60)
    assert first["one", "RS256"].until == NOW + 1
    assert second["one", "RS256"].same_as(read(other)["one", "RS256"])


# TLS


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server for 127.0.0.1, and the file of who vouches for it: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    file, secret = directory / "ca.pem", directory / "key.pem"
    file.write_bytes(signed.public_bytes(pem))
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return context, file


def test_a_provider_of_the_company_s_own_authority(
    tmp_path: Path, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    context, authority = certificate(tmp_path)
    with serving(documents, context) as url:
        loaded = config(tmp_path, issuer=url)
        with following(replace(loaded, oidc_ca=authority)) as keys:
            eventually(lambda: names(keys) == {"one"})
        (loaded.data / FILE_NAME).unlink()
        with following(loaded) as keys:  # by the system's authorities alone
            eventually(lambda: caplog.records)
            assert names(keys) == set()
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


@pytest.mark.parametrize("content", ["", "junk", "-----BEGIN CERTIFICATE-----\n"])
def test_a_file_of_no_authorities_is_told(content: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(content)
    loaded = replace(config(tmp_path, issuer="https://login.example.test"), oidc_ca=file)
    with pytest.raises(UsageError, match="is no PEM file of certificates"):
        ProviderKeys(loaded)
