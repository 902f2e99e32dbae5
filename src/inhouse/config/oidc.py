"""The provider of access tokens: what [oidc] must say before any token is believed."""

import ipaddress
import re
from urllib.parse import urlsplit

from inhouse.config.people import OidcSection
from inhouse.config.problems import Problems

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519",
)  # fmt: skip
TOKEN_TYPES = ("at+jwt", "JWT", "")

_SEGMENT = r'(?:"[^"]+"|[^".]+)'
_PATH = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")


def check_oidc(oidc: OidcSection, problems: Problems) -> None:
    """Note what is wrong with the section; where it is off, only what is wrong in itself."""
    _check_lists(oidc, problems)
    if oidc.refresh_min_s > oidc.refresh_max_s:
        problems.add("oidc.refresh_min_s", oidc.refresh_min_s, "is above oidc.refresh_max_s")
    if oidc.stale_s < oidc.refresh_max_s:
        problems.add(
            "oidc.stale_s",
            oidc.stale_s,
            "is below oidc.refresh_max_s: keys would run out between two fetches",
        )
    if oidc.jwks_url and not secure(oidc.jwks_url):
        problems.add(
            "oidc.jwks_url", oidc.jwks_url, "must be https://HOST/PATH, or http:// on loopback"
        )
    if not oidc.issuer:
        given = oidc.audiences or oidc.jwks_url or oidc.ca_file
        if given:
            problems.add("oidc.issuer", "", "is needed beside the rest of [oidc]")
        return
    if not secure(oidc.issuer) or "?" in oidc.issuer:
        problems.add(
            "oidc.issuer",
            oidc.issuer,
            "must be https://HOST/PATH, or http:// on loopback, exactly as the tokens' 'iss'",
        )
    if not oidc.audiences:
        problems.add(
            "oidc.audiences",
            None,
            "must name whom tokens are for; without it, every token of the provider would do",
        )


def _check_lists(oidc: OidcSection, problems: Problems) -> None:
    for name, values, allowed in (
        ("algorithms", oidc.algorithms, ALGORITHMS),
        ("token_types", oidc.token_types, TOKEN_TYPES),
    ):
        key = f"oidc.{name}"
        if not values:
            problems.add(key, None, "must name at least one")
        for value in values:
            if value not in allowed:
                either = ", ".join(f"'{each}'" for each in allowed)
                problems.add(key, value, f"must be of these: {either}")
    if "" in oidc.audiences:
        problems.add("oidc.audiences", "", "must not be empty texts")
    for name in ("roles_claims", "groups_claims", "scopes_claims", "name_claims"):
        for text in getattr(oidc, name):
            if claim_path(text) is None:
                problems.add(
                    f"oidc.{name}",
                    text,
                    "must be names with dots between them; in quotes where a name has dots itself",
                )


def claim_path(text: str) -> tuple[str, ...] | None:
    """The names in `realm_access.roles`, or `resource_access."my.app".roles`; None where it is no
    such path."""
    if not _PATH.fullmatch(text):
        return None
    return tuple(name.strip('"') for name in re.findall(_SEGMENT, text))


def secure(url: str) -> bool:
    """Whether an address is one from which keys may be fetched: TLS, or this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}#')
    if not plain or not host or "@" in parts.netloc or port == 0:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and on_loopback(host))


def on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
