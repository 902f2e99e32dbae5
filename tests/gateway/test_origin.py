"""Who may say where a request came from."""

from pathlib import Path

import pytest
from tests.gateway.harness import BODIES, gateway

from inhouse.gateway.origin import networks, origin
from inhouse.upstream.fake_engine import FakeEngine

PROXIES = networks(["10.0.1.0/24", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.9", b"10.9.9.9", "192.0.2.9"),  # not a proxy of ours: not believed
        ("10.0.1.2", None, "10.0.1.2"),
        ("10.0.1.2", b"192.0.2.7", "192.0.2.7"),
        ("10.0.1.2", b"6.6.6.6, 192.0.2.7", "192.0.2.7"),  # the left one is the client's word
        ("10.0.1.2", b"192.0.2.7, 10.0.1.3", "192.0.2.7"),
        ("10.0.1.2", b"10.0.1.4, 10.0.1.3", "10.0.1.4"),
        ("10.0.1.2", b"192.0.2.7, nonsense", "10.0.1.2"),
        ("10.0.1.2", b"nonsense, 10.0.1.3", "10.0.1.3"),
        ("10.0.1.2", b"", "10.0.1.2"),
        ("10.0.1.2", b"\xff", "10.0.1.2"),
        ("10.0.1.2", b"::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", b"2001:db8::7", "2001:db8::7"),
    ],
)
def test_origin(peer: str, forwarded: bytes | None, found: str) -> None:
    assert origin(peer, forwarded, PROXIES) == found


def test_nobody_is_believed_by_default() -> None:
    assert origin("10.0.1.2", b"192.0.2.7", networks([])) == "10.0.1.2"


@pytest.mark.parametrize(
    ("proxies", "address"), [('["127.0.0.1"]', "10.1.2.3"), ("[]", "127.0.0.1")]
)
async def test_the_log_holds_the_origin(tmp_path: Path, proxies: str, address: str) -> None:
    toml = f'[gateway]\nlisten = "127.0.0.1:0"\ntrusted_proxies = {proxies}\n'
    path = "/v1/chat/completions"
    async with FakeEngine() as engine, gateway(tmp_path, engine, toml=toml) as talk:
        headers = {"x-forwarded-for": "6.6.6.6, 10.1.2.3"}
        answer = await talk.client.post(path, json=BODIES[path], headers=headers)
        assert answer.status_code == 200
        assert (await talk.audited_last()).address == address
