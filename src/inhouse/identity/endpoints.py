"""Where a provider sends people and takes codes, as its discovery document says (RFC 8414)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from inhouse.config.oidc import secure
from inhouse.identity.fetch import WELL_KNOWN
from inhouse.identity.wire import NotFetched, Wire


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one provider; empty where it has none, or one that is not on its own host."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    revocation: str  # RFC 7009
    end_session: str  # OpenID Connect RP-Initiated Logout
    says_issuer: bool  # with each answer to a browser (RFC 9207)


def discovered(wire: Wire, issuer: str, *, authorization: str = "", token: str = "") -> Endpoints:
    """What the provider says now; the addresses given here count in place of its own. Blocks.
    Raises NotFetched."""
    answer = wire.get(issuer.rstrip("/") + WELL_KNOWN)
    if answer.status != 200:
        raise NotFetched(f"{answer.url} answered {answer.status}; it must be 200")
    document = answer.document()
    if document.get("issuer") != issuer:
        raise NotFetched(
            f"the provider calls itself {document.get('issuer')!a}, and the issuer is '{issuer}': "
            "they must be the same, to the last character"
        )
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise NotFetched("the provider does not take PKCE with S256, without which nobody logs in")
    return Endpoints(
        issuer=issuer,
        authorization=authorization or _needed(document, issuer, "authorization_endpoint"),
        token=token or _needed(document, issuer, "token_endpoint"),
        jwks=_on_its_host(document, issuer, "jwks_uri"),
        revocation=_on_its_host(document, issuer, "revocation_endpoint"),
        end_session=_on_its_host(document, issuer, "end_session_endpoint"),
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _needed(document: dict[str, Any], issuer: str, name: str) -> str:
    url = _on_its_host(document, issuer, name)
    if not url:
        key = name.replace("endpoint", "url")
        raise NotFetched(
            f"the provider's document has no {name} with https on its own host, but "
            f"{document.get(name)!a}; where that is right, set login.{key} to it"
        )
    return url


def _on_its_host(document: dict[str, Any], issuer: str, name: str) -> str:
    url = document.get(name)
    if type(url) is not str or not secure(url):
        return ""
    return url if urlsplit(url).hostname == urlsplit(issuer).hostname else ""
