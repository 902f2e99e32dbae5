"""A console of the tests' own: the least HTTP around login and sessions. The product mounts them on
its admin listener; what is asked here is how they behave, with real browsers and a provider."""

import asyncio
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.config.secrets import Secret
from inhouse.identity import csrf
from inhouse.identity.authcode import NotLoggedIn
from inhouse.identity.backchannel import to_end
from inhouse.identity.cookies import Cookie
from inhouse.identity.jwks import ProviderKeys
from inhouse.identity.login import Login
from inhouse.identity.refused import Refused
from inhouse.identity.sessions import Sessions
from inhouse.store.database import database_at

PEPPER = bytes(range(32))
CLIENT_SECRET = "the-console-and-the-provider-know-it"


class Answer:
    def __init__(self, status: int, body: str = "", **headers: str) -> None:
        self.status = status
        self.body = body
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]

    def setting(self, *cookies: Cookie) -> "Answer":
        self.headers += [("set-cookie", cookie.header()) for cookie in cookies]
        return self

    def wire(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        body = self.body.encode()
        head = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n{lines}"
        head += "content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        return head.encode() + body


class Console:
    """Login, sessions and logout over HTTP."""

    def __init__(self, config: Config, login: Login, sessions: Sessions) -> None:
        self.config = config
        self.url = config.settings.login.console_url
        self.login = login
        self.sessions = sessions

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            writer.write((await self.answer(method, target, headers, body)).wire())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        url, login = urlsplit(target), self.login
        cookies = headers["cookie"].encode("latin-1") if "cookie" in headers else None
        token = login.cookies.session_in(cookies)
        try:
            match method, url.path:
                case "GET", "/login":
                    wanted = parse_qs(url.query).get("return_to", ["/"])[0]
                    begun = await login.begin(wanted)
                    return Answer(302, location=begun.url).setting(begun.cookie)
                case "GET", "/login/callback":
                    done = await login.finish(url.query.encode(), login.cookies.login_in(cookies))
                    new = await asyncio.to_thread(
                        self.sessions.begin, done.identity, done.provider_session, token
                    )
                    cookie = login.cookies.session(new.token.reveal(), new.max_age_s)
                    return Answer(302, location=done.return_to).setting(cookie, done.cookie)
                case "POST", "/logout":
                    return await self.logout(headers, body, token)
                case "POST", "/backchannel":
                    ended = await to_end(body, login.expected, login._keys, login._clock())
                    if isinstance(ended, Refused):
                        return Answer(400, ended.sentence)
                    named = (ended.issuer, ended.subject, ended.provider_session)
                    await asyncio.to_thread(self.sessions.end_of_provider, *named)
                    return Answer(200)
        except NotLoggedIn as error:
            return Answer(error.status, html.escape(error.sentence, quote=False)).setting(
                login.cookies.no_login()
            )
        return self.page(token)

    def page(self, token: bytes | None) -> Answer:
        session = self.sessions.ring.check(token, self.login._clock())
        if session is None or token is None:
            return Answer(401, '<title>Nobody</title><a href="/login">log in</a>')
        proof = self.sessions.ring.proof(token)
        return Answer(
            200,
            f"<title>Console</title><p id=who>{html.escape(session.name)}</p>"
            f"<p id=subject>{html.escape(session.subject)}</p>"
            f"<p id=groups>{html.escape(' '.join(sorted(session.groups)))}</p>"
            f"<form method=post action=/logout><input type=hidden name=csrf value={proof}>"
            "<button>log out</button></form>",
        )

    async def logout(self, headers: dict[str, str], body: bytes, token: bytes | None) -> Answer:
        session = self.sessions.ring.check(token, self.login._clock())
        proof = parse_qs(body.decode()).get(csrf.FIELD, [""])[0].encode()
        if session is None or token is None:
            return Answer(401, "nobody is logged in")
        if not csrf.is_ours(
            b"POST",
            headers["sec-fetch-site"].encode() if "sec-fetch-site" in headers else None,
            headers["origin"].encode() if "origin" in headers else None,
            proof,
            console_url=self.url,
            token=token,
            ring=self.sessions.ring,
        ):
            return Answer(403, "not from here")
        await asyncio.to_thread(self.sessions.end_all, session.issuer, session.subject)
        location = await self.login.provider_logout() or "/"
        return Answer(303, location=location).setting(self.login.cookies.no_session())


def configured(tmp_path: Path, issuer: str, console_url: str, **changes: Any) -> Config:
    """Login at `issuer`; `changes` of [login]."""
    loaded = load_config(None, tmp_path / "data", {})
    oidc = replace(
        loaded.settings.oidc, issuer=issuer, audiences=["inhouse"], fetch_timeout_s=3.0, leeway_s=5
    )
    said: dict[str, Any] = {
        "client_id": "console",
        "client_secret": Secret(CLIENT_SECRET),
        "console_url": console_url,
        "scopes": ["openid", "profile", "groups"],
    }
    login = replace(loaded.settings.login, **said | changes)
    return replace(loaded, settings=replace(loaded.settings, oidc=oidc, login=login))


@asynccontextmanager
async def console(config: Config, port: int) -> AsyncIterator[Console]:
    """The console, served on loopback."""
    config.data.mkdir(exist_ok=True, parents=True)
    database = database_at(config.database)
    database.open(make=True)
    keys = ProviderKeys(config)
    keys.start()
    made = Console(
        config,
        Login(config, keys, PEPPER),
        Sessions(config.settings.login, database, PEPPER),
    )
    server = await asyncio.start_server(made.serve, "127.0.0.1", port)
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.to_thread(keys.stop)
        database.close()
