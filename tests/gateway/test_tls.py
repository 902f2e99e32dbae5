"""TLS at the listener, and the local authority that comes with it."""

import asyncio
import re
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from tests.gateway.harness import BODIES, gateway
from tests.gateway.test_connection import refuse

from inhouse.errors import UsageError
from inhouse.gateway import local_ca
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.listening import Listening
from inhouse.gateway.tls import Certificates
from inhouse.greeting import trust
from inhouse.upstream.fake_engine import FakeEngine, Faults

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


async def greet(exchange: Exchange) -> None:
    exchange.respond(200, b"", b"x")


@asynccontextmanager
async def listening(certificates: Certificates) -> AsyncIterator[int]:
    listener = Listener(bind("127.0.0.1:0", "test"), Listening(greet, refuse), certificates)
    await listener.start()
    try:
        yield int(listener.address.rpartition(":")[2])
    finally:
        await listener.stop(1)


def trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


async def served_serial(port: int, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number


async def test_tls_1_3_and_nothing_older(tmp_path: Path) -> None:
    certificates = Certificates(*local_ca.ensure(tmp_path, "127.0.0.1"))
    async with listening(certificates) as port:
        context = trusting(local_ca.authority(tmp_path))
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(REQUEST)
        answer = await reader.readuntil(b"\r\n\r\nx")
        assert b"strict-transport-security: max-age=31536000\r\n" in answer
        writer.close()
        old = trusting(local_ca.authority(tmp_path))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)


async def test_an_https_target_is_answered_over_tls_alone(tmp_path: Path) -> None:
    certificates = Certificates(*local_ca.ensure(tmp_path, "127.0.0.1"))
    request = b"GET https://a/ HTTP/1.1\r\nhost: a\r\n\r\n"
    async with listening(certificates) as port:
        context = trusting(local_ca.authority(tmp_path))
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.write(request)
        assert (await reader.readuntil(b"\r\n\r\nx")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_client_that_does_not_trust_the_authority_sees_an_error(tmp_path: Path) -> None:
    certificates = Certificates(*local_ca.ensure(tmp_path, "127.0.0.1"))
    async with listening(certificates) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())


async def test_a_new_certificate_is_used_without_a_dropped_connection(tmp_path: Path) -> None:
    certificate, key = local_ca.ensure(tmp_path, "127.0.0.1")
    certificates = Certificates(certificate, key)
    context = trusting(local_ca.authority(tmp_path))
    async with listening(certificates) as port:
        certificates.watch(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        before = await served_serial(port, context)
        certificate.unlink()
        local_ca.ensure(tmp_path, "127.0.0.1")
        async with asyncio.timeout(5):
            while await served_serial(port, context) == before:
                await asyncio.sleep(0.02)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\nx")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_bad_certificate_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = local_ca.ensure(tmp_path / "a", "127.0.0.1")
    _, other_key = local_ca.ensure(tmp_path / "b", "127.0.0.1")
    certificates = Certificates(certificate, key)
    context = trusting(local_ca.authority(tmp_path / "a"))
    async with listening(certificates) as port:
        serial = await served_serial(port, context)
        for content in (other_key.read_bytes(), b"", b"-----BEGIN PRIVATE KEY-----\n"):
            key.write_bytes(content)
            assert not certificates.reload()
            assert await served_serial(port, context) == serial
        key.unlink()
        assert not certificates.reload()
        assert await served_serial(port, context) == serial
    assert "the new certificate is not used" in caplog.text


async def test_a_new_certificate_that_has_ended_is_not_used_and_one_near_its_end_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = local_ca.ensure(tmp_path, "127.0.0.1")
    certificates = Certificates(certificate, key)
    context = trusting(local_ca.authority(tmp_path))
    now = datetime.now(UTC)
    async with listening(certificates) as port:
        serial = await served_serial(port, context)
        local_ca.ensure(tmp_path, "127.0.0.1", ["a.test"], now=now - timedelta(days=91))
        assert not certificates.reload()
        assert await served_serial(port, context) == serial
        assert "the new certificate is not used: tls.certificate " in caplog.text
        assert "has ended, on " in caplog.text
        with pytest.raises(UsageError, match="has ended, on "):
            Certificates(certificate, key)
        local_ca.ensure(tmp_path, "127.0.0.1", ["b.test"], now=now - timedelta(days=80))
        assert certificates.reload()
        assert f"the certificate in {certificate} ends on " in caplog.text
        caplog.clear()
        certificates.watch(0.02, daily_s=0.02)
        async with asyncio.timeout(5):
            while "ends on" not in caplog.text:
                await asyncio.sleep(0.02)


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    certificate, key = local_ca.ensure(tmp_path, "127.0.0.1")
    with pytest.raises(UsageError, match=r"nothing\.key cannot be read: No such file"):
        Certificates(certificate, tmp_path / "nothing.key")
    with pytest.raises(UsageError, match=r"swapped with tls\.key"):
        Certificates(key, certificate)
    _, other = local_ca.ensure(tmp_path / "other", "127.0.0.1")
    with pytest.raises(UsageError, match=r"other/server\.key is not the key of the certificate"):
        Certificates(certificate, other)


def test_the_local_certificate_is_made_anew_before_its_end_and_for_new_names(
    tmp_path: Path,
) -> None:
    def serial() -> int:
        return x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes()).serial_number

    now = datetime.now(UTC)
    local_ca.ensure(tmp_path, "127.0.0.1", now=now)
    first, ca = serial(), local_ca.authority(tmp_path).read_bytes()
    local_ca.ensure(tmp_path, "127.0.0.1", now=now + timedelta(days=30))
    assert serial() == first
    local_ca.ensure(tmp_path, "127.0.0.1", now=now + timedelta(days=70))
    second = serial()
    assert second != first
    local_ca.ensure(tmp_path, "192.168.7.8", now=now + timedelta(days=70))
    assert serial() != second
    assert local_ca.authority(tmp_path).read_bytes() == ca
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o600}


async def test_a_certificate_is_renewed_while_it_serves(tmp_path: Path) -> None:
    renewed = 0

    def renew() -> None:
        nonlocal renewed
        renewed += 1
        if renewed == 1:
            (tmp_path / "server.pem").unlink()
        local_ca.ensure(tmp_path, "127.0.0.1")

    certificates = Certificates(*local_ca.ensure(tmp_path, "127.0.0.1"), renew)
    context = trusting(local_ca.authority(tmp_path))
    async with listening(certificates) as port:
        before = await served_serial(port, context)
        certificates.watch(0.02, daily_s=0.02)
        async with asyncio.timeout(5):
            while await served_serial(port, context) == before:
                await asyncio.sleep(0.02)


def test_half_a_pair_is_made_whole_and_half_an_authority_is_told(tmp_path: Path) -> None:
    certificate, key = local_ca.ensure(tmp_path, "127.0.0.1")
    for harm in (certificate.unlink, key.unlink, lambda: key.write_bytes(b"x")):
        harm()
        Certificates(*local_ca.ensure(tmp_path, "127.0.0.1"))
    local_ca.authority(tmp_path).unlink()
    with pytest.raises(UsageError, match=r"ca\.pem is missing; restore it from backup"):
        local_ca.ensure(tmp_path, "127.0.0.1")


def test_the_fingerprint_is_what_the_named_command_prints(tmp_path: Path) -> None:
    local_ca.ensure(tmp_path, "127.0.0.1")
    said = trust(tmp_path)
    (command,) = re.findall(r"'(openssl .*)'", said)
    printed = subprocess.check_output(command.split(), cwd=tmp_path, text=True)
    assert printed.partition("=")[2].strip() in said.splitlines()


def test_names_are_plain() -> None:
    names = local_ca.server_names("[::1]".strip("[]"), ["SRV.Corp.Local.", "Łódź", "FE80::1%eth0"])
    assert {"srv.corp.local", "fe80::1", "::1", "localhost", "127.0.0.1"} <= set(names)
    assert "Łódź" not in names
    assert "10.0.0.5" in local_ca.server_names("::", ["10.0.0.5"])


async def test_a_large_answer_over_tls_reaches_a_slow_reader(tmp_path: Path) -> None:
    async def much(exchange: Exchange) -> None:
        exchange.respond(200, b"", b"y" * 6_000_000)

    certificates = Certificates(*local_ca.ensure(tmp_path, "127.0.0.1"))
    shared = Listening(much, refuse)
    listener = Listener(bind("127.0.0.1:0", "test"), shared, certificates)
    await listener.start()
    port = int(listener.address.rpartition(":")[2])
    context = trusting(local_ca.authority(tmp_path))

    def read() -> int:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            time.sleep(3)
            size = 0
            while data := client.recv(65_536):
                size += len(data)
            return size

    try:
        assert await asyncio.to_thread(read) > 6_000_000
    finally:
        await listener.stop(5)


async def test_a_whole_gateway_over_tls(tmp_path: Path) -> None:
    toml = '[gateway]\nlisten = "127.0.0.1:0"\n[tls]\nself_signed = true\n'
    async with (
        FakeEngine(Faults(tokens=50)) as engine,
        gateway(tmp_path, engine, toml=toml) as talk,
    ):
        ca = local_ca.authority(talk.config.data / "tls")
        url = str(talk.client.base_url).replace("http:", "https:")
        headers = {"authorization": f"Bearer {talk.key}"}
        async with httpx.AsyncClient(verify=trusting(ca), base_url=url, headers=headers) as client:
            for stream in (True, False):
                body = BODIES["/v1/chat/completions"] | {"stream": stream}
                answer = await client.post("/v1/chat/completions", json=body)
                assert answer.text.count("hello") == 50
