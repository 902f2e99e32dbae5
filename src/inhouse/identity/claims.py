"""What a verified token says, judged: for whom it is, until when, and whose it is.

Functions of values. The signature was checked before; a provider that signs nonsense is refused
all the same. Whose a token is, is its issuer and subject, never a name or an e-mail address.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inhouse.config.oidc import claim_path
from inhouse.config.people import OidcSection
from inhouse.identity.jws import Denied
from inhouse.identity.refused import Reason

MAX_TEXT_CHARS = 256
MAX_VALUES = 1000  # roles, groups or scopes in one token
LAST_SECOND = 253_402_300_799  # of the year 9999
CLIENT = (("azp",), ("client_id",), ("cid",), ("appid",))  # RFC 9068, Keycloak, Okta, Entra ID v1
TOKEN_ID = (("jti",), ("uti",))  # Entra ID says uti
OF_OTHER_TOKENS = ("at_hash", "c_hash", "s_hash", "events")  # ID tokens; logout tokens
OF_ACCESS_TOKENS = ("scope", "scp", "client_id", "cid", "appid", "azpacr")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token stands for. `name` is for people who read logs, and identifies nobody."""

    issuer: str
    subject: str
    name: str
    client: str  # the application that asked for the token; empty where it does not say
    roles: frozenset[str]
    groups: frozenset[str]
    scopes: frozenset[str]
    expires: int  # seconds since the epoch
    token_id: str  # empty where it has none


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must be, worked out once from the configuration."""

    issuer: str
    audiences: frozenset[str]
    types: frozenset[str]
    roles: tuple[Path, ...]
    groups: tuple[Path, ...]
    scopes: tuple[Path, ...]
    names: tuple[Path, ...]
    leeway_s: int
    max_lifetime_s: int

    @classmethod
    def of(cls, oidc: OidcSection) -> "Expected":
        return cls(
            issuer=oidc.issuer,
            audiences=frozenset(oidc.audiences),
            types=frozenset(each.lower() for each in oidc.token_types),
            roles=_paths(oidc.roles_claims),
            groups=_paths(oidc.groups_claims),
            scopes=_paths(oidc.scopes_claims),
            names=_paths(oidc.name_claims),
            leeway_s=oidc.leeway_s,
            max_lifetime_s=oidc.max_lifetime_s,
        )


def judge(claims: Mapping[str, Any], typ: str, expected: Expected, now: float) -> Identity:
    """Whose access token this is at `now`. Raises Denied."""
    _check_kind(claims, typ, expected)
    return whose(claims, expected, now)


def whose(claims: Mapping[str, Any], expected: Expected, now: float) -> Identity:
    """Whose token this is, of whatever kind. Raises Denied."""
    if claims.get("iss") != expected.issuer:
        raise Denied(Reason.ISSUER, "the token is from another issuer")
    _check_audience(claims.get("aud"), expected.audiences)
    expires = _check_times(claims, expected, now)
    _check_overage(claims, expected)
    subject = _required(claims, "sub")
    client = _first(claims, CLIENT)
    return Identity(
        issuer=expected.issuer,
        subject=subject,
        name=_first(claims, expected.names) or client or subject,
        client=client,
        roles=_values(claims, expected.roles),
        groups=_values(claims, expected.groups),
        scopes=_values(claims, expected.scopes, words=True),
        expires=expires,
        token_id=_first(claims, TOKEN_ID),
    )


def _check_kind(claims: Mapping[str, Any], typ: str, expected: Expected) -> None:
    """It is an access token, and anybody's who has it.

    RFC 9068 says so in the header; Keycloak in `typ`, Cognito in `token_use`. Of the others, a
    token that has what ID tokens or logout tokens have, or nothing of what access tokens have, is
    none.
    """
    if typ not in expected.types:
        raise Denied(Reason.KIND, "the token's 'typ' is none of oidc.token_types")
    if claims.get("typ", "Bearer") != "Bearer" or claims.get("token_use", "access") != "access":
        raise Denied(Reason.KIND, "the token is no access token")
    said = typ == "at+jwt" or "typ" in claims or "token_use" in claims
    others = any(name in claims for name in OF_OTHER_TOKENS) or (not said and "nonce" in claims)
    if others or not (said or any(name in claims for name in OF_ACCESS_TOKENS)):
        raise Denied(Reason.KIND, "the token may be an ID token; send the access token")
    if "cnf" in claims:
        raise Denied(Reason.KIND, "the token is bound to a key of its sender, which is not checked")


def _check_audience(audience: object, expected: frozenset[str]) -> None:
    named = audience if type(audience) is list else [audience]
    if not all(type(each) is str for each in named) or len(named) > MAX_VALUES:
        raise Denied(Reason.AUDIENCE, "the token does not say for whom it is")
    if expected.isdisjoint(named):
        raise Denied(Reason.AUDIENCE, "the token is for another audience")


def _check_times(claims: Mapping[str, Any], expected: Expected, now: float) -> int:
    expires, issued = second(claims, "exp"), second(claims, "iat")
    begins = second(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + expected.leeway_s:
        raise Denied(Reason.EXPIRED, "the token has expired")
    if max(issued, begins) > now + expected.leeway_s:
        raise Denied(Reason.TIMES, "the token is not valid yet")
    if not 0 < expires - issued <= expected.max_lifetime_s:
        raise Denied(
            Reason.TIMES, f"the token lives longer than {expected.max_lifetime_s} s, or not at all"
        )
    return expires


def _check_overage(claims: Mapping[str, Any], expected: Expected) -> None:
    """Entra ID leaves the groups out where there are more than 200, and says where they are.

    They are not fetched; and to go on without them would be to judge by a part.
    """
    elsewhere = claims.get("_claim_names")
    named = set(elsewhere) if isinstance(elsewhere, dict) else set()
    if claims.get("hasgroups") is True:
        named.add("groups")
    if any(path[0] in named for path in (*expected.groups, *expected.roles)):
        raise Denied(
            Reason.GROUPS,
            "the token has too many groups to hold them; let the provider send only the groups "
            "that are assigned to this application, or roles",
        )


def second(claims: Mapping[str, Any], name: str) -> int:
    """A claim that is a moment, in seconds since the epoch. Raises Denied."""
    value = claims.get(name)
    if type(value) is not int or not 0 < value <= LAST_SECOND:
        raise Denied(Reason.CLAIMS, f"the token's '{name}' is no whole number of seconds")
    return value


def _required(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not _is_text(value):
        raise Denied(Reason.CLAIMS, f"the token has no '{name}'")
    return str(value)


def _first(claims: Mapping[str, Any], paths: Iterable[Path]) -> str:
    """The first of these claims that is a text; what cannot be shown is left out of it."""
    for path in paths:
        value = _at(claims, path)
        if isinstance(value, str):
            shown = value[:MAX_TEXT_CHARS]
            if not shown.isprintable():
                shown = "".join(filter(str.isprintable, shown))
            if shown := shown.strip():
                return shown
    return ""


def _values(
    claims: Mapping[str, Any], paths: Iterable[Path], *, words: bool = False
) -> frozenset[str]:
    """All texts of these claims; a claim that is one text counts as one, or, of `words`, as its
    words."""
    found: set[str] = set()
    for path in paths:
        value = _at(claims, path)
        if value is None:
            continue
        if isinstance(value, str):
            value = value.split(" ") if words else [value]
            value = [each for each in value if each]
        if not isinstance(value, list) or not all(map(_is_text, value)):
            raise Denied(Reason.CLAIMS, f"the token's '{'.'.join(path)}' is no list of texts")
        found.update(value)
    if len(found) > MAX_VALUES:
        raise Denied(Reason.CLAIMS, f"the token has more than {MAX_VALUES} roles, groups or scopes")
    return frozenset(found)


def _is_text(value: object) -> bool:
    """Short, not empty, and of characters that can be seen: it goes into rules and records."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT_CHARS and value.isprintable()


def _at(claims: Mapping[str, Any], path: Path) -> Any:
    value: Any = claims
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _paths(texts: Iterable[str]) -> tuple[Path, ...]:
    return tuple(path for text in texts if (path := claim_path(text)))
