"""Whom an authenticating proxy in front has logged in, by the headers that oauth2-proxy sends.

    the named listener? ──no──► the headers mean nothing
    a named peer, with the secret? ──no──► refused
    each header once, bounded, of one reading? ──no──► refused
    an access token, where configured ──► checked as any other: it says who it is
    else the subject's header ──► an identity under the issuer that the operator named

Functions of values. Headers are a claim of whoever connects: on their own listener, from the proxy
alone, who must take away what its clients send under these names. Nothing of them goes further.
"""

import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from inhouse.config.people import ProxyLoginSection
from inhouse.config.secrets import Secret
from inhouse.identity.claims import MAX_TEXT_CHARS, MAX_VALUES, Identity
from inhouse.identity.refused import Reason, Refused

LISTENER = "proxy_login"
SECRET = "x-inhouse-proxy-secret"  # noqa: S105 - the header's name
FAMILIES = ("x-forwarded-", "x-auth-request-")
PARTS = ("user", "email", "preferred-username", "groups", "access-token")
HEADERS = frozenset({SECRET, *(family + part for family in FAMILIES for part in PARTS)})
"""What means something here, and nowhere else."""

MAX_VALUE_BYTES = 16_384
GOOD_FOR_S = 60  # the next request says it anew

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """[proxy_login], worked out once."""

    peers: tuple[Network, ...]
    secret: Secret
    subject: str
    family: str
    issuer: str
    looks_at_tokens: bool
    needs_a_token: bool

    @classmethod
    def of(cls, section: ProxyLoginSection) -> "ProxyRules":
        return cls(
            peers=tuple(ipaddress.ip_network(peer, strict=False) for peer in section.peers),
            secret=section.secret,
            subject=section.subject,
            family=next(each for each in FAMILIES if section.subject.startswith(each)),
            issuer=section.issuer,
            looks_at_tokens=section.access_token in {"prefer", "require"},
            needs_a_token=section.access_token == "require",  # noqa: S105 - a mode
        )


@dataclass(frozen=True, slots=True)
class ForwardedToken:
    """The person's access token: who it is, its check says, and no header."""

    token: bytes = field(repr=False)


class _Wrong(Exception):
    """A request that the proxy must not send; the sentence says why."""


def proxied(
    listener: str, peer: str, fields: Iterable[tuple[bytes, bytes]], rules: ProxyRules, now: float
) -> Identity | ForwardedToken | Refused | None:
    """Who a request on `listener` from the address `peer` is said to be from. None on every
    listener but that of [proxy_login]: there, nobody is.

    `fields` are the request's header lines, as they came: a name that came twice is there twice.
    """
    if listener != LISTENER:
        return None
    if not _is_named(peer, rules.peers):
        return Refused(Reason.PEER, "this address is for the authenticating proxy alone")
    try:
        said = _identity_headers(fields)
        if rules.secret and not _same(said.get(SECRET, b""), rules.secret):
            return Refused(Reason.PEER, f"the proxy must send its secret in {SECRET}")
        token = said.get(f"{rules.family}access-token")
        if token is not None and rules.looks_at_tokens:
            return ForwardedToken(token)
        if rules.needs_a_token:
            raise _Wrong(f"the proxy sent no {rules.family}access-token")
        return _identity(said, rules, now)
    except _Wrong as error:
        return Refused(Reason.PROXY, str(error))


def _is_named(peer: str, peers: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in peers)


def _identity_headers(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """The headers that say who it is, by name; empty ones count as absent.

    A name with `_` is another name in HTTP, and the same one for servers that fold both; one of
    them may have let it pass unseen, so it is refused, not passed over.
    """
    found: dict[str, bytes] = {}
    for raw, value in fields:
        name = raw.decode("latin-1").lower()
        folded = name.replace("_", "-")
        if folded not in HEADERS:
            continue
        if name != folded:
            raise _Wrong(f"a header's name is written with '_': {folded} has none")
        if name in found:
            raise _Wrong(f"{name} came more than once")
        if len(value) > MAX_VALUE_BYTES:
            raise _Wrong(f"{name} is larger than {MAX_VALUE_BYTES} bytes")
        found[name] = value
    return {name: value for name, value in found.items() if value}


def _same(presented: bytes, secret: Secret) -> bool:
    return hmac.compare_digest(presented, secret.reveal().encode())


def _identity(said: Mapping[str, bytes], rules: ProxyRules, now: float) -> Identity:
    if rules.subject not in said:
        raise _Wrong(f"the proxy sent no {rules.subject}")
    subject = _text(said, rules.subject)
    if "," in subject:  # two lines of one name become one with a comma, on the way
        raise _Wrong(f"{rules.subject} has a comma: it may be two of them")
    email = f"{rules.family}email"
    if rules.subject != email and subject.lower() == _shown(said, email).lower():
        raise _Wrong(
            f"{rules.subject} is the e-mail address, which may be another person's tomorrow; let "
            f"the proxy send the subject, or name {email} in proxy_login.subject"
        )
    return Identity(
        issuer=rules.issuer,
        subject=subject,
        name=_shown(said, f"{rules.family}preferred-username") or subject,
        client="",
        roles=frozenset(),
        groups=_groups(said, f"{rules.family}groups"),
        scopes=frozenset(),
        expires=int(now) + GOOD_FOR_S,
        token_id="",
    )


def _groups(said: Mapping[str, bytes], name: str) -> frozenset[str]:
    """Names with commas between them, and no spaces around those: a comma and a space are what two
    lines of one name become on the way."""
    if name not in said:
        return frozenset()
    groups = _decoded(said, name).split(",")
    if len(groups) > MAX_VALUES:
        raise _Wrong(f"{name} has more than {MAX_VALUES} groups")
    for group in groups:
        if not 0 < len(group) <= MAX_TEXT_CHARS or group != group.strip():
            raise _Wrong(f"{name} must be names with a comma, and no space, between them")
    return frozenset(groups)


def _shown(said: Mapping[str, bytes], name: str) -> str:
    return _text(said, name) if name in said else ""


def _text(said: Mapping[str, bytes], name: str) -> str:
    text = _decoded(said, name)
    if len(text) > MAX_TEXT_CHARS or text != text.strip():
        raise _Wrong(f"{name} must be a text of 1 to {MAX_TEXT_CHARS} characters")
    return text


def _decoded(said: Mapping[str, bytes], name: str) -> str:
    try:
        text = said[name].decode()
    except UnicodeDecodeError as error:
        raise _Wrong(f"{name} is not UTF-8") from error
    if not text.isprintable():
        raise _Wrong(f"{name} has characters that cannot be shown")
    return text
