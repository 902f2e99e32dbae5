"""Login from a terminal (RFC 8252): a browser of this machine, and its answer on loopback.

    begin ──► an address to open ──► the browser comes back to 127.0.0.1:PORT/callback ──► tokens

The port is a free one, and open for as long as the login takes. What comes there without this
login's state is answered, and changes nothing.
"""

import asyncio
import hmac
import math
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from inhouse.config.people import OidcSection
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.authcode import (
    Client,
    NotLoggedIn,
    Redeemed,
    code_in,
    parameters,
    redeem,
    refresh,
    request_url,
    revoke,
)
from inhouse.identity.claims import Identity
from inhouse.identity.endpoints import Endpoints, discovered
from inhouse.identity.idtoken import ForClient, person_of
from inhouse.identity.jwk import Key, read_keys
from inhouse.identity.refused import Refused
from inhouse.identity.strict import NotStrict
from inhouse.identity.tokenfile import Kept
from inhouse.identity.wire import NotFetched, Wire

TIMEOUT_S = 10.0  # of each answer of the provider
UNSAID_LIFE_S = 60  # of an access token whose end the provider does not say
MAX_HEAD_S = 5.0
PAGE = "<!doctype html><meta charset=utf-8><title>Inhouse</title><p>{}</p>"


class Fetched:
    """The provider's keys, as they were a moment ago."""

    def __init__(self, wire: Wire, endpoints: Endpoints, algorithms: list[str]) -> None:
        """Raises NotFetched."""
        try:
            self.keys: dict[tuple[str, str], Key] = read_keys(
                wire.get(endpoints.jwks).document(), algorithms
            ).keys
        except NotStrict as error:
            raise NotFetched(f"what the provider publishes as its keys {error}") from error
        self.good_until = math.inf
        self.away_since: float | None = None

    async def renewed(self) -> bool:
        return True


class Terminal:
    """One person's login at one provider, as a public client."""

    def __init__(self, issuer: str, client_id: str, scopes: list[str]) -> None:
        """Asks the provider for its addresses. Raises UsageError."""
        self._wire = Wire(TIMEOUT_S)
        self._oidc = OidcSection(issuer=issuer, audiences=[client_id])
        self._client_id = client_id
        self._scopes = scopes
        with _told():
            self._endpoints = discovered(self._wire, issuer)

    def login(self, show: Callable[[str], None], wait_s: float, *, consent: bool) -> Kept:
        """Who logged in. `show` is called with the address to open. Raises NegativeAnswer and
        UsageError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        with _listening(state) as (port, answers):
            client = Client(self._client_id, f"http://127.0.0.1:{port}/callback")
            show(
                request_url(
                    self._endpoints,
                    client,
                    self._scopes,
                    state=state,
                    nonce=nonce,
                    verifier=verifier,
                    **({"prompt": "consent"} if consent else {}),
                )
            )
            try:
                said = answers.get(timeout=wait_s)
            except queue.Empty as error:
                raise NegativeAnswer(f"nobody logged in within {wait_s:.0f} s") from error
        try:
            code = code_in(said, self._endpoints)
        except NotLoggedIn as error:
            raise NegativeAnswer(error.sentence) from error
        with _told():
            redeemed = redeem(self._wire, self._endpoints, client, code, verifier)
            identity = self._checked(redeemed, nonce)
        return self._kept(redeemed, identity.subject, identity.name, sorted(identity.groups))

    def refreshed(self, kept: Kept) -> Kept:
        """The same login with a new access token. Raises UsageError."""
        client = Client(kept.client_id, "")
        with _told():
            redeemed = refresh(self._wire, self._endpoints, client, kept.refresh_token)
        if not redeemed.access_token:
            raise UsageError("the provider gave no access token; run: inhouse login")
        new = self._kept(redeemed, kept.subject, kept.name, kept.groups)
        return new if new.refresh_token else _with(new, refresh_token=kept.refresh_token)

    def revoked(self, kept: Kept) -> bool:
        """Have the tokens ended at the provider, where it offers that. Raises UsageError."""
        if not self._endpoints.revocation:
            return False
        client = Client(kept.client_id, "")
        with _told():
            if kept.refresh_token:
                revoke(self._wire, self._endpoints, client, kept.refresh_token, "refresh_token")
            else:
                revoke(self._wire, self._endpoints, client, kept.access_token, "access_token")
        return True

    def _checked(self, redeemed: Redeemed, nonce: str) -> Identity:
        if not redeemed.access_token:
            raise NotFetched("the provider gave no access token")
        keys = Fetched(self._wire, self._endpoints, self._oidc.algorithms)
        person = asyncio.run(
            person_of(
                redeemed.id_token.encode(),
                ForClient.of(self._oidc, self._client_id),
                keys,
                time.time(),
                nonce=nonce,
                access_token=redeemed.access_token,
            )
        )
        if isinstance(person, Refused):
            raise NotFetched(f"the provider's ID token was refused: {person.sentence}")
        return person.identity

    def _kept(self, redeemed: Redeemed, subject: str, name: str, groups: list[str]) -> Kept:
        life_s = UNSAID_LIFE_S if redeemed.expires_in_s is None else redeemed.expires_in_s
        return Kept(
            issuer=self._endpoints.issuer,
            client_id=self._client_id,
            subject=subject,
            name=name,
            groups=groups,
            scopes=self._scopes,
            access_token=redeemed.access_token,
            refresh_token=redeemed.refresh_token,
            expires=time.time() + life_s,
        )


def _with(kept: Kept, *, refresh_token: str) -> Kept:
    fields = {name: getattr(kept, name) for name in kept.__struct_fields__}
    return Kept(**fields | {"refresh_token": refresh_token})


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except NotFetched as error:
        raise UsageError(f"the login failed: {error}") from error


@contextmanager
def _listening(state: str) -> Iterator[tuple[int, "queue.Queue[dict[str, str]]"]]:
    """A port on loopback, and the one answer that comes there with this state."""
    answers: queue.Queue[dict[str, str]] = queue.Queue(1)
    handler: type[_Handler] = type("Handler", (_Handler,), {"state": state, "answers": answers})
    server = _Server(("127.0.0.1", 0), handler)
    handler.own = f"127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield server.server_port, answers
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False

    def handle_error(self, *_: Any) -> None:
        """A browser that leaves; there may be another one."""


class _Handler(BaseHTTPRequestHandler):
    state: str
    own: str  # host and port, as browsers name them
    answers: "queue.Queue[dict[str, str]]"
    timeout = MAX_HEAD_S

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.headers.get("host") != self.own or url.path != "/callback":
            self._say(404, "There is nothing here.")
            return
        try:
            said = parameters(url.query.encode())
        except (NotLoggedIn, UnicodeEncodeError):
            said = {}
        if not hmac.compare_digest(said.get("state", "").encode(), self.state.encode()):
            self._say(400, "This is no answer to the login that waits here.")
            return
        try:
            self.answers.put_nowait(said)
        except queue.Full:
            self._say(400, "The login was answered before.")
            return
        self._say(200, "Go back to your terminal; you can close this page.")

    def _say(self, status: int, sentence: str) -> None:
        body = PAGE.format(sentence).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        """Nothing: the address has the code in it."""
