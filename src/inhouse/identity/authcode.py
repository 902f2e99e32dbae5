"""The authorization code flow with PKCE (RFC 6749, RFC 7636, RFC 9207) in values: what a browser
is sent with, what it brings back, what a code is redeemed with.

Shared by the console's login and by `inhouse login`.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

from inhouse.config.secrets import Secret
from inhouse.identity.endpoints import Endpoints
from inhouse.identity.strict import to_base64url
from inhouse.identity.wire import NotFetched, Wire

MAX_QUERY_BYTES = 16_384
MAX_PARAMETERS = 20
MAX_CODE_CHARS = 4096
MAX_TOKEN_CHARS = 65_536
_ERROR = re.compile(r"[a-z_]{1,40}")
_CODE = re.compile(rf"[\x20-\x7e]{{1,{MAX_CODE_CHARS}}}")
_DENIED = frozenset({"access_denied", "login_required", "consent_required", "interaction_required"})
_AWAY = frozenset({"temporarily_unavailable", "server_error"})


class NotLoggedIn(Exception):
    """A login that does not happen: a sentence for the person, in plain text, and an HTTP status.
    Nothing that a browser or the provider said is in it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks the provider, and where it answers to: exactly this address."""

    client_id: str
    redirect_uri: str
    secret: Secret = field(default_factory=lambda: Secret(""))  # empty: a public client
    in_form: bool = False  # the secret is sent in the form, not in the Authorization header


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The tokens that a code, or a refresh token, was worth. Empty where there is none."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int | None


def challenge(verifier: str) -> str:
    """S256; the method `plain` is never used."""
    return to_base64url(hashlib.sha256(verifier.encode()).digest()).decode()


def request_url(
    endpoints: Endpoints,
    client: Client,
    scopes: list[str],
    *,
    state: str,
    nonce: str,
    verifier: str,
    **more: str,
) -> str:
    """Where the browser is sent."""
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    } | more
    joint = "&" if "?" in endpoints.authorization else "?"
    return f"{endpoints.authorization}{joint}{urlencode(asked)}"


def parameters(query: bytes) -> dict[str, str]:
    """The parameters that a browser brings, each once. Raises NotLoggedIn."""
    if len(query) > MAX_QUERY_BYTES:
        raise NotLoggedIn(400, "what the browser brought back is too large to be an answer")
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            errors="strict",
        )
    except ValueError as error:
        raise NotLoggedIn(400, "what the browser brought back is no provider's answer") from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotLoggedIn(400, "what the browser brought back names something twice")
    return found


def code_in(said: dict[str, str], endpoints: Endpoints) -> str:
    """The code in an answer whose state was checked. Raises NotLoggedIn."""
    issuer = said.get("iss")
    if issuer != endpoints.issuer and (issuer is not None or endpoints.says_issuer):
        raise NotLoggedIn(400, "the answer is not of the provider that was asked; log in again")
    if "error" in said:
        raise NotLoggedIn(*_told(said["error"]))
    code = said.get("code", "")
    if not _CODE.fullmatch(code):
        raise NotLoggedIn(400, "the provider's answer has no code; log in again")
    return code


def _told(error: str) -> tuple[int, str]:
    """The provider's error in our words; its description is anybody's text, and is not shown."""
    if error in _DENIED:
        return 403, "the provider did not let you in, or you did not go on"
    if error in _AWAY:
        return 503, "the provider cannot log anybody in now; try again in a minute"
    return 502, f"the provider refused the login ({_named(error)}); the log says what it said"


def redeem(wire: Wire, endpoints: Endpoints, client: Client, code: str, verifier: str) -> Redeemed:
    """The tokens for a code. Blocks. Raises NotFetched."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": verifier,
    }
    return _tokens(wire, endpoints, client, form)


def refresh(wire: Wire, endpoints: Endpoints, client: Client, refresh_token: str) -> Redeemed:
    """New tokens for a refresh token. Blocks. Raises NotFetched."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _tokens(wire, endpoints, client, form)


def revoke(wire: Wire, endpoints: Endpoints, client: Client, token: str, kind: str) -> None:
    """Have a token ended at the provider. Blocks. Raises NotFetched."""
    form, authorization = _authenticated(client, {"token": token, "token_type_hint": kind})
    answer = wire.post(endpoints.revocation, form, authorization)
    if answer.status != 200:
        raise NotFetched(f"{answer.url} answered {answer.status}; it must be 200")


def _tokens(wire: Wire, endpoints: Endpoints, client: Client, form: dict[str, str]) -> Redeemed:
    body, authorization = _authenticated(client, form)
    answer = wire.post(endpoints.token, body, authorization)
    if answer.status != 200:
        raise NotFetched(_why(answer.status, answer.document() if answer.body else {}))
    said = answer.document()
    kind = said.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NotFetched("the provider's tokens are of another type than 'Bearer'")
    life = said.get("expires_in")
    return Redeemed(
        access_token=_token(said, "access_token"),
        id_token=_token(said, "id_token"),
        refresh_token=_token(said, "refresh_token"),
        expires_in_s=life if type(life) is int and life >= 0 else None,
    )


def _authenticated(client: Client, form: dict[str, str]) -> tuple[bytes, str]:
    """The form and the Authorization header of a request of this client (RFC 6749 2.3.1)."""
    secret = client.secret.reveal()
    if secret and not client.in_form:
        pair = f"{quote_plus(client.client_id)}:{quote_plus(secret)}"
        return urlencode(form).encode(), f"Basic {base64.b64encode(pair.encode()).decode()}"
    form |= {"client_id": client.client_id}
    if secret:
        form |= {"client_secret": secret}
    return urlencode(form).encode(), ""


def _token(said: dict[str, Any], name: str) -> str:
    value = said.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS or not value.isascii():
        raise NotFetched(f"the provider's {name} is no token")
    return value


def _why(status: int, said: dict[str, Any]) -> str:
    return f"the provider answered {status} ({_named(said.get('error'))})"


def _named(error: object) -> str:
    is_name = isinstance(error, str) and _ERROR.fullmatch(error)
    return str(error) if is_name else "an error without a name"
