"""Who an authenticating proxy says it is: from the named proxy alone, in one reading."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.harness import gateway

from inhouse.config.people import SUBJECT_HEADERS, ProxyLoginSection
from inhouse.config.secrets import Secret
from inhouse.identity.claims import Identity
from inhouse.identity.proxied import (
    FAMILIES,
    HEADERS,
    LISTENER,
    ForwardedToken,
    ProxyRules,
    proxied,
)
from inhouse.identity.refused import Reason, Refused
from inhouse.upstream.fake_engine import FakeEngine

NOW = 1_800_000_000.0
SHARED = "0123456789abcdef0123456789abcdef"
SAID = {
    "X-Inhouse-Proxy-Secret": SHARED,
    "X-Forwarded-User": "u-100",
    "X-Forwarded-Email": "anna@example.com",
    "X-Forwarded-Preferred-Username": "Änna",
    "X-Forwarded-Groups": "research,Domain Users",
}
Fields = list[tuple[bytes, bytes]]


def rules(**changes: Any) -> ProxyRules:
    said: dict[str, Any] = {
        "listen": "127.0.0.1:8082",
        "peers": ["127.0.0.1", "10.0.3.0/30"],
        "secret": Secret(SHARED),
        "issuer": "sso",
    }
    section = ProxyLoginSection(**said | changes)
    return ProxyRules.of(section)


def fields(*more: tuple[str, str | bytes], **changes: str | bytes | None) -> Fields:
    """What the proxy sends; `user="x"` changes X-Forwarded-User, None takes it out."""
    said: dict[str, str | bytes | None] = dict(SAID)
    for name, value in changes.items():
        said["X-Forwarded-" + name.replace("_", "-").title()] = value
    lines = [*said.items(), *more]
    return [
        (n.encode(), v if isinstance(v, bytes) else v.encode()) for n, v in lines if v is not None
    ]


def found(lines: Fields, peer: str = "127.0.0.1", **changes: Any) -> object:
    return proxied(LISTENER, peer, lines, rules(**changes), NOW)


def reason(result: object) -> Reason | None:
    return result.reason if isinstance(result, Refused) else None


def test_who_it_is() -> None:
    assert found(fields()) == Identity(
        issuer="sso",
        subject="u-100",
        name="Änna",
        client="",
        roles=frozenset(),
        groups=frozenset({"research", "Domain Users"}),
        scopes=frozenset(),
        expires=int(NOW) + 60,
        token_id="",
    )


def test_without_what_is_optional() -> None:
    result = found(fields(groups=None, email="", preferred_username=None))
    assert isinstance(result, Identity)
    assert (result.name, result.groups) == ("u-100", frozenset())


@pytest.mark.parametrize("listener", ["gateway", "admin", "", "proxy_login "])
def test_on_every_other_listener_the_headers_mean_nothing(listener: str) -> None:
    assert proxied(listener, "127.0.0.1", fields(), rules(), NOW) is None


@pytest.mark.parametrize(
    "peer",
    ["127.0.0.2", "10.0.3.4", "::1", "10.0.3.1.evil", "", "unix:", "8.0.0.0", "fe80::1%127.0.0.1"],
)
def test_a_peer_that_is_not_named(peer: str) -> None:
    assert reason(found(fields(), peer)) is Reason.PEER


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.3.2", "::ffff:127.0.0.1"])
def test_a_peer_that_is_named(peer: str) -> None:
    assert isinstance(found(fields(), peer), Identity)


@pytest.mark.parametrize("secret", [None, b"", b"wrong", SHARED[:-1].encode(), b"\xff" * 32])
def test_another_program_of_the_named_machine(secret: bytes | None) -> None:
    lines = [(n, v) for n, v in fields() if n != b"X-Inhouse-Proxy-Secret"]
    if secret is not None:
        lines.append((b"x-inhouse-proxy-secret", secret))
    assert reason(found(lines)) is Reason.PEER


def test_the_secret_is_not_asked_for_where_there_is_none() -> None:
    lines = [(n, v) for n, v in fields() if n != b"X-Inhouse-Proxy-Secret"]
    assert isinstance(found(lines, secret=Secret("")), Identity)


TWICE = [
    ("X-Forwarded-User", "u-100"),
    ("x-forwarded-user", "root"),
    ("X-FORWARDED-GROUPS", "admin"),
]


@pytest.mark.parametrize("again", TWICE)
def test_a_header_that_came_twice(again: tuple[str, str]) -> None:
    assert reason(found(fields(again))) is Reason.PROXY
    assert reason(found(fields(again)[::-1])) is Reason.PROXY


@pytest.mark.parametrize("name", ["X_Forwarded_User", "x-forwarded_groups", "X_FORWARDED-EMAIL"])
def test_a_name_that_another_server_would_fold_into_one_of_these(name: str) -> None:
    assert reason(found(fields((name, "root")))) is Reason.PROXY


WRONG: list[dict[str, str | bytes | None]] = [
    {"user": None},
    {"user": ""},
    {"user": "u-100, root"},  # two lines, joined on the way
    {"user": " u-100"},
    {"user": "u\t100"},
    {"user": b"u\xff100"},
    {"user": "u\u202e100"},
    {"user": "u" * 257},
    {"user": "u" * 20_000},
    {"user": "anna@example.com"},
    {"user": "Anna@Example.COM"},
    {"groups": "a, b"},
    {"groups": "a,,b"},
    {"groups": ",a"},
    {"groups": "a,"},
    {"groups": "a,b\u0000"},
    {"groups": "a," + "b" * 257},
    {"groups": ",".join(map(str, range(1001)))},
    {"groups": b"a" * 20_000},
    {"preferred_username": b"\xe4nna"},
    {"preferred_username": "a" * 300},
    {"email": b"\xff@x"},
]


@pytest.mark.parametrize("changes", WRONG)
def test_what_has_no_one_reading(changes: dict[str, str | bytes | None]) -> None:
    result = found(fields(**changes))
    assert isinstance(result, Refused)
    assert result.reason is Reason.PROXY
    for value in changes.values():
        if value and len(value) > 3:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            assert text not in result.sentence


def test_an_address_is_an_identity_only_where_the_operator_says_so() -> None:
    result = found(fields(), subject="x-forwarded-email")
    assert isinstance(result, Identity)
    assert result.subject == "anna@example.com"


def test_headers_of_the_other_family_mean_nothing() -> None:
    """They are what clients send: a proxy that sends one family takes away that one alone."""
    other = [("X-Auth-Request-User", "root"), ("X-Auth-Request-Groups", "admin")]
    result = found(fields(*other))
    assert isinstance(result, Identity)
    assert (result.subject, "admin" in result.groups) == ("u-100", False)
    taken = found(fields(*other), subject="x-auth-request-user")
    assert isinstance(taken, Identity)
    assert (taken.subject, taken.name, *taken.groups) == ("root", "root", "admin")


def test_a_forwarded_token_is_believed_in_place_of_headers() -> None:
    token = ("X-Forwarded-Access-Token", "e30.e30.AA")
    assert isinstance(found(fields(token)), Identity)
    for mode in ("prefer", "require"):
        assert found(fields(token), access_token=mode) == ForwardedToken(b"e30.e30.AA")
        assert found(fields(token, user=None), access_token=mode) == ForwardedToken(b"e30.e30.AA")
        assert reason(found(fields(token), "10.9.9.9", access_token=mode)) is Reason.PEER
        assert reason(found(fields(token, token), access_token=mode)) is Reason.PROXY
    assert isinstance(found(fields(), access_token="prefer"), Identity)
    assert reason(found(fields(), access_token="require")) is Reason.PROXY
    assert "e30" not in repr(found(fields(token), access_token="require"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(HEADERS)).map(str.encode) | st.binary(max_size=20),
            st.binary(max_size=40),
        )
    ),
    st.sampled_from([LISTENER, "gateway"]),
    st.sampled_from(["127.0.0.1", "10.9.9.9", "x"]),
    st.sampled_from(SUBJECT_HEADERS),
    st.sampled_from(["ignore", "prefer", "require"]),
)
def test_whatever_comes(lines: Fields, listener: str, peer: str, subject: str, mode: str) -> None:
    result = proxied(listener, peer, lines, rules(subject=subject, access_token=mode), NOW)
    if isinstance(result, Identity | ForwardedToken):
        assert (listener, peer) == (LISTENER, "127.0.0.1")
        assert (b"x-inhouse-proxy-secret", SHARED.encode()) in lines


def test_every_subject_is_a_header_of_a_family() -> None:
    assert all(name in HEADERS and name.startswith(FAMILIES) for name in SUBJECT_HEADERS)


async def test_they_never_reach_an_engine_and_open_nothing(tmp_path: Path) -> None:
    """On the clients' and the operators' listener, with and without a key."""
    forged = dict.fromkeys(HEADERS, "root") | {"x_forwarded_user": "root"}
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        path = "/v1/chat/completions"
        answer = await talk.client.post(path, json=body, headers=forged)
        assert answer.status_code == 200
        seen = [each for each in engine.requests if each.headers["x-request-id"] != "probe"]
        assert len(seen) == 1
        assert not HEADERS & {name.replace("_", "-") for name in seen[0].headers}
        async with httpx.AsyncClient(base_url=talk.client.base_url) as stranger:
            assert (await stranger.post(path, json=body, headers=forged)).status_code == 401
