"""Login of people at the provider: from /login to who it is.

    begin   ──► the provider's address, and a cookie that stays in this browser
    finish  ──► the state is that cookie's? the answer is this provider's? the code is redeemed
                with this login's verifier? the ID token is for us, of this login? ──► who it is

The cookie holds a random name of the login, when it began, and where to go after it. The state,
the nonce and PKCE's verifier are HMACs of it, each under a key of its own derived from the pepper.
So nothing is kept here for a login that may never end; any gateway with the same pepper can finish
it; the verifier never leaves us; and an answer that another browser asked for is refused (login
CSRF), as it comes without the cookie of its state. A login is finished once: its name is
remembered here, and elsewhere the provider takes no code twice.
"""

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlencode

from inhouse.config.schema import Config
from inhouse.identity.authcode import (
    Client,
    NotLoggedIn,
    Redeemed,
    code_in,
    parameters,
    redeem,
    request_url,
)
from inhouse.identity.claims import Identity
from inhouse.identity.cookies import Cookie, Cookies
from inhouse.identity.endpoints import Endpoints, discovered
from inhouse.identity.idtoken import ForClient, person_of
from inhouse.identity.refused import Refused
from inhouse.identity.returns import path_of_ours
from inhouse.identity.signed import Keys
from inhouse.identity.strict import NotStrict, from_base64url, to_base64url
from inhouse.identity.wire import NotFetched, Wire
from inhouse.mac import Mac
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.identity")

CALLBACK = "/login/callback"
MAX_FINISHED = 10_000
AT_ONCE = 8  # talks with the provider
MAX_DESCRIPTION_CHARS = 200
FRESH_S, RETRY_S = 3600.0, 5.0  # how long its document counts, and how long a failure does
_COOKIE = re.compile(rb"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([A-Za-z0-9_-]{1,1024})")


@dataclass(frozen=True, slots=True)
class ToProvider:
    """Where to send the browser, and the cookie that goes with it."""

    url: str
    cookie: Cookie


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who logged in, and the path to go to; `provider_session` is for Sessions.begin. The login
    cookie is to be taken away."""

    identity: Identity
    provider_session: str
    return_to: str
    cookie: Cookie


class Login:
    """Logs people in, on one event loop."""

    def __init__(
        self, config: Config, keys: Keys, pepper: bytes, *, clock: Clock = time.time
    ) -> None:
        """[login] is on. Raises UsageError where oidc.ca_file holds no certificates."""
        login, oidc = config.settings.login, config.settings.oidc
        self._login = login
        self._issuer = oidc.issuer
        self._wire = Wire(oidc.fetch_timeout_s, config.oidc_ca)
        self._keys = keys
        self._clock = clock
        self._macs = {
            use: Mac(hmac.digest(pepper, f"inhouse: {use} of logins".encode(), "sha256"))
            for use in ("state", "nonce", "verifier")
        }
        self._client = Client(
            login.client_id,
            login.console_url + CALLBACK,
            login.client_secret,
            in_form=login.client_auth == "post",
        )
        self.expected = ForClient.of(oidc, login.client_id)
        self.cookies = Cookies.of(login.console_url)
        self._finished: OrderedDict[bytes, None] = OrderedDict()
        self._talks = asyncio.Semaphore(AT_ONCE)
        self._asking = asyncio.Lock()
        self._known: Endpoints | NotFetched | None = None
        self._known_until = 0.0  # monotonic

    async def begin(self, return_to: str) -> ToProvider:
        """A login that is to end at the path `return_to`. Raises NotLoggedIn."""
        endpoints = await self._endpoints()
        name = to_base64url(secrets.token_bytes(32)).decode()
        path = to_base64url(path_of_ours(return_to).encode()).decode()
        value = f"{name}.{int(self._clock())}.{path}"
        url = request_url(
            endpoints,
            self._client,
            self._login.scopes,
            state=self._derived("state", value),
            nonce=self._derived("nonce", value),
            verifier=self._derived("verifier", value),
        )
        return ToProvider(url, self.cookies.login(value, 60 * self._login.wait_minutes))

    async def finish(self, query: bytes, cookie: bytes | None) -> LoggedIn:
        """Who logged in, from the query of the callback and the login cookie. Raises NotLoggedIn;
        the login cookie is to be taken away then, too."""
        said = parameters(query)
        value, return_to = self._begun(said.get("state", ""), cookie)
        endpoints = await self._endpoints()
        try:
            code = code_in(said, endpoints)
        except NotLoggedIn as error:
            told = said.get("error_description", "")[:MAX_DESCRIPTION_CHARS]
            log.warning("a login failed: %s: %a", error.sentence, told)
            raise
        redeemed = await self._redeem(endpoints, code, self._derived("verifier", value))
        person = await person_of(
            redeemed.id_token.encode(),
            self.expected,
            self._keys,
            self._clock(),
            nonce=self._derived("nonce", value),
            access_token=redeemed.access_token,
        )
        if isinstance(person, Refused):
            log.warning("a login failed: %s", person.sentence)
            status = 503 if person.retry_after_s is not None else 502
            raise NotLoggedIn(status, "the provider's ID token was refused; log in again")
        return LoggedIn(
            person.identity, person.provider_session, return_to, self.cookies.no_login()
        )

    async def provider_logout(self) -> str | None:
        """Where a browser ends its session at the provider too, after it has ended here; None
        where the provider has no such place."""
        try:
            endpoints = await self._endpoints()
        except NotLoggedIn:
            return None
        if not endpoints.end_session:
            return None
        joint = "&" if "?" in endpoints.end_session else "?"
        asked = {
            "client_id": self._client.client_id,
            "post_logout_redirect_uri": f"{self._login.console_url}/",
        }
        return f"{endpoints.end_session}{joint}{urlencode(asked)}"

    def _begun(self, state: str, cookie: bytes | None) -> tuple[str, str]:
        """The cookie's value and the path in it, of a login that this browser began, not long ago,
        and has not finished."""
        match = _COOKIE.fullmatch(cookie or b"")
        if match is None:
            raise NotLoggedIn(400, "no login was begun in this browser; begin at /login")
        value = match[0].decode()
        if not hmac.compare_digest(state.encode(), self._derived("state", value).encode()):
            raise NotLoggedIn(400, "the answer is of another login than this browser's last one")
        if self._clock() > int(match[2]) + 60 * self._login.wait_minutes:
            raise NotLoggedIn(400, "the login took too long; log in again")
        if match[1] in self._finished:
            raise NotLoggedIn(400, "the login was finished before; log in again")
        self._finished[match[1]] = None
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)
        try:
            return value, path_of_ours(from_base64url(match[3]).decode())
        except (NotStrict, UnicodeDecodeError) as error:
            raise NotLoggedIn(400, "no login was begun in this browser") from error

    def _derived(self, use: str, value: str) -> str:
        return to_base64url(self._macs[use].digest(value.encode())).decode()

    async def _redeem(self, endpoints: Endpoints, code: str, verifier: str) -> Redeemed:
        if self._talks.locked():
            raise NotLoggedIn(503, "too many people log in at this moment; try again in a minute")
        async with self._talks:
            try:
                return await asyncio.to_thread(
                    redeem, self._wire, endpoints, self._client, code, verifier
                )
            except NotFetched as error:
                log.warning("a login failed, as its code was not redeemed: %s", error)
                raise NotLoggedIn(
                    502, "the provider did not redeem the login's code; log in again"
                ) from error

    async def _endpoints(self) -> Endpoints:
        """The provider's addresses; asked for once an hour, or in seconds while it is away."""
        async with self._asking:
            if time.monotonic() >= self._known_until:
                await self._discover()
        if isinstance(self._known, Endpoints):
            return self._known
        raise NotLoggedIn(503, "the provider cannot be reached now; try again in a minute")

    async def _discover(self) -> None:
        login, life_s = self._login, FRESH_S
        try:
            self._known = await asyncio.to_thread(
                discovered,
                self._wire,
                self._issuer,
                authorization=login.authorization_url,
                token=login.token_url,
            )
        except NotFetched as error:
            log.error("nobody can log in: %s", error)
            life_s = RETRY_S
            if not isinstance(self._known, Endpoints):
                self._known = error
        self._known_until = time.monotonic() + life_s
