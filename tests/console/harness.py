"""The admin API behind a real listener, with real keys, store and log; and no engines."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from inhouse.audit.log import AuditLog
from inhouse.audit.read import records
from inhouse.audit.record import Record
from inhouse.audit.secrets import chain_key, mark_path
from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.console.api import Api
from inhouse.console.authenticate import KeyChannel
from inhouse.console.call import Services
from inhouse.console.route import Table
from inhouse.console.routes import TABLE
from inhouse.gateway.listener import HttpDate, Listener, bind
from inhouse.gateway.listening import Listening
from inhouse.gateway.operations import Operations
from inhouse.gateway.refuse import malformed_answer
from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.permissions import PERMISSIONS, ROLES
from inhouse.identity.users import Users
from inhouse.identity.watch import KeyWatcher
from inhouse.telemetry import Metrics
from inhouse.upstream.pool import Pool

WITHOUT = "nobody"
WHO: dict[str, frozenset[str]] = {role.name: role.permissions for role in ROLES.values()}
WHO |= {"everybody": frozenset(PERMISSIONS), WITHOUT: frozenset()}
"""A user of each built-in role, one of all of them together, and one without a grant."""


def granted(ledger: Ledger, name: str) -> str:
    """A user of that name with what their name says; their id."""
    local = Actor.local()
    user = Users(ledger).create(local, name, issuer="https://idp", subject=name)
    for role in ROLES if name == "everybody" else {name} & ROLES.keys():
        Grants(ledger).give(local, user.id, role)
    return user.id


@dataclass(slots=True)
class Answered:
    """One answer, as it came over the wire."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        error = json.loads(self.body or b"{}").get("error")
        return error["code"] if isinstance(error, dict) else None


class Wire:
    """A kept connection, on which requests are written byte by byte."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b""
    ) -> Answered:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        given = {"host": "localhost"} | (fields or {})
        if body:
            given |= {"content-length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *rest = head.split("\r\n")
            found = dict(line.lower().split(": ", 1) for line in rest if line)
            length = int(found["content-length"])
            came = b"" if method == "HEAD" else await reader.readexactly(length)
        if found.get("connection") == "close":
            await self.close()
        return Answered(int(status.split(" ")[1]), found, came)

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@dataclass(slots=True)
class Admin:
    """The admin listener, and a key of each role."""

    config: Config
    port: int
    api: Api
    users: dict[str, str]
    secrets: dict[str, str]
    client: httpx.AsyncClient
    wires: list[Wire] = field(default_factory=list)

    def wire(self) -> Wire:
        self.wires.append(Wire(self.port))
        return self.wires[-1]

    def bearer(self, role: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[role]}"}

    async def get(self, path: str, role: str = "everybody", **more: Any) -> httpx.Response:
        return await self.client.get(f"/admin/v1/{path}", headers=self.bearer(role), **more)

    async def post(self, path: str, role: str = "everybody", **more: Any) -> httpx.Response:
        return await self.client.post(f"/admin/v1/{path}", headers=self.bearer(role), **more)

    def records(self) -> list[Record]:
        return list(records(self.config.audit_directory))


@contextlib.asynccontextmanager
async def admin(
    directory: Path,
    *,
    table: Table = TABLE,
    toml: str = "",
    refusals_per_minute: int = 1_000_000,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Admin]:
    """Everything that the admin listener needs, started and stopped."""
    file = directory / "inhouse.toml"
    file.write_text(f'{toml}\n[access]\nseparate = []\n[models]\nm = "openai://127.0.0.1:9/m"\n')
    config = load_config(file, directory / "data", {})
    config.data.mkdir(exist_ok=True)
    audit = await AuditLog.open(
        config.audit_directory,
        chain_key(config),
        segment_bytes=config.settings.audit.segment_bytes,
        clock=time.time,
        mark=mark_path(config),
    )
    ledger = Ledger(config)
    keys = Keys(config, ledger=ledger)
    users = {name: granted(ledger, name) for name in WHO}
    secrets = {
        name: keys.create(name, user=user).token.secret.reveal() for name, user in users.items()
    }
    watcher = KeyWatcher(config)
    watcher.start()
    known = watcher.directory
    pool = Pool(config)
    api = Api(
        table,
        Services(config, pool, watcher.follow),
        [KeyChannel(known.check)],
        lambda principal, now: Actor.of(principal, known.rights(principal, now)),
        audit,
        clock=clock,
        refusals_per_minute=refusals_per_minute,
    )
    operations = Operations(pool, audit, Metrics(), time.time, HttpDate(), api)
    try:
        with bind("127.0.0.1:0", "admin.listen") as sock:
            shared = Listening(
                operations.serve, lambda _, error: malformed_answer(error, time.time())
            )
            listener = Listener(sock, shared)
            await listener.start()
            port = sock.getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                started = Admin(config, port, api, users, secrets, client)
                try:
                    yield started
                finally:
                    for wire in started.wires:
                        await wire.close()
                    await listener.stop(0)
    finally:
        await asyncio.to_thread(watcher.stop)
        pool.close()
        audit.close()
