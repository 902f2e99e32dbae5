"""The configurations of docs/proxies.md, run as they stand there, in front of a whole gateway."""

import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.gateway.harness import BODIES, Talk, gateway
from tests.gateway.test_behind_proxies import free_port, proxy

from inhouse.gateway import local_ca
from inhouse.upstream.fake_engine import FakeEngine, Faults

PAGE = (Path(__file__).parents[2] / "docs" / "proxies.md").read_text()
CHAT = "/v1/chat/completions"
CLIENT = "127.0.0.2"
FRONTS = pytest.mark.parametrize("front", ["nginx", "HAProxy"])


def block(title: str) -> str:
    """The indented lines of a section."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0] if title else PAGE
    found = re.search(r"(?:^(?:    .*)?\n)+", section[section.index("\n    ") + 1 :], re.MULTILINE)
    assert found is not None
    return "\n".join(line[4:] for line in found[0].splitlines()) + "\n"


def rendered(text: str, **places: str) -> str:
    """With our places in place of those of the page, each of which must stand there once."""
    for theirs, ours in places.items():
        assert text.count(theirs) == 1, theirs
        text = text.replace(theirs, ours)
    return text


def command(front: str, work: Path, port: int, front_port: int) -> list[str]:
    certificate, key = local_ca.ensure(work / "tls", "127.0.0.1")
    listens = f"127.0.0.1:{front_port}"
    config = work / "front.conf"
    if front == "nginx":
        text = rendered(block("nginx"), **{
            "127.0.0.1:8080": f"127.0.0.1:{port}",
            "listen 443": f"listen {listens}",
            "/etc/ssl/inhouse.pem": str(certificate),
            "/etc/ssl/inhouse.key": str(key),
        })  # fmt: skip
        paths = "".join(
            f"{name}_temp_path {work}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config.write_text(
            f"daemon off; pid {work}/pid; error_log {work}/log; events {{}}\n"
            f"http {{ access_log off; {paths}\n{text}}}\n"
        )
        return ["/usr/sbin/nginx", "-p", str(work), "-c", str(config)]
    both = work / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    config.write_text(rendered(block("HAProxy"), **{
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "bind :443": f"bind {listens}",
        "/etc/ssl/inhouse.both.pem": str(both),
    }))  # fmt: skip
    return ["/usr/sbin/haproxy", "-db", "-f", str(config)]


@asynccontextmanager
async def client_of(
    front: str, work: Path, port: int, key: str = "none"
) -> AsyncIterator[httpx.AsyncClient]:
    front_port = free_port()
    async with proxy(command(front, work, port, front_port), front_port):
        trusted = ssl.create_default_context(cafile=str(work / "tls" / "ca.pem"))
        transport = httpx.AsyncHTTPTransport(verify=trusted, local_address=CLIENT)
        headers = {"authorization": f"Bearer {key}", "x-forwarded-for": "192.0.2.66"}
        async with httpx.AsyncClient(
            transport=transport, base_url=f"https://127.0.0.1:{front_port}", headers=headers,
            timeout=20,
        ) as client:  # fmt: skip
            yield client


@asynccontextmanager
async def fronted(
    front: str, work: Path, engine: FakeEngine
) -> AsyncIterator[tuple[httpx.AsyncClient, Talk]]:
    toml = rendered(block(""), **{'listen = "127.0.0.1:8080"': 'listen = "127.0.0.1:0"'})
    (work / "gateway").mkdir()
    async with gateway(work / "gateway", engine, toml=toml) as talk:
        port = talk.client.base_url.port or 0
        async with client_of(front, work, port, talk.key) as client:
            yield client, talk


@FRONTS
async def test_a_stream_comes_as_it_is_made_and_the_record_names_the_client(
    tmp_path: Path, front: str
) -> None:
    body = BODIES[CHAT] | {"stream": True}
    async with (
        FakeEngine(Faults(tokens=40, rate=40)) as engine,
        fronted(front, tmp_path, engine) as (client, talk),
    ):
        said, early = b"", 0
        async with client.stream("POST", CHAT, json=body) as answer:
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            async for piece in answer.aiter_bytes():
                early += engine.open_streams
                said += piece
        assert early > 10, "it came once all of it was there"
        assert said.count(b"hello") == 40
        assert said.endswith(b"data: [DONE]\n\n")
        assert (await talk.audited_last()).address == CLIENT


@FRONTS
async def test_errors_are_the_gateways_own(tmp_path: Path, front: str) -> None:
    async with FakeEngine() as engine, fronted(front, tmp_path, engine) as (client, _):
        large = BODIES[CHAT] | {"user": "x" * 8_400_000}
        answer = await client.post(CHAT, content=json.dumps(large), headers={
            "content-type": "application/json"
        })  # fmt: skip
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"
        assert "8388608 bytes" in answer.text
        answer = await client.post(CHAT, json=BODIES[CHAT] | {"model": "none"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_model")


@FRONTS
async def test_the_proxys_errors_are_json(tmp_path: Path, front: str) -> None:
    async with client_of(front, tmp_path, free_port()) as client:
        answer = await client.post(CHAT, json=BODIES[CHAT])
        assert answer.status_code in (502, 503)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["code"] == "bad_gateway"
