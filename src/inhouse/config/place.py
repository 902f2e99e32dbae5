"""Where state is kept, as [store] says it: a file of SQLite, or a database of PostgreSQL."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from inhouse.config.paths import opened, resolved
from inhouse.config.problems import Problems
from inhouse.config.secrets import Secret

if TYPE_CHECKING:
    from inhouse.config.schema import StoreSection

SQLITE = "sqlite:///"
POSTGRESQL = "postgresql://"
PORT = 5432
SOCKETS = "/var/run/postgresql"  # where Debian's server has its socket
SSL_MODES = ("auto", "verify-full", "verify-ca", "require", "disable")
_ADDRESS = re.compile(
    r"postgresql://(?P<user>[^:@/?#]+)(:(?P<password>[^:@/?#]*))?"
    r"@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@/?#\[\]]*)(:(?P<port>[0-9]{1,5}))?/(?P<name>[^:@/?#]+)"
)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database in a file of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlServer:
    """A database of a server, which several gateways may use. Written out without its password."""

    host: str  # a name, an address, or the directory of a socket
    port: int
    user: str
    name: str
    password: Secret
    sslmode: str  # as libpq has it
    authority: Path | None  # PEM file, where certificates are verified

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        user, name = quote(self.user, safe=""), quote(self.name, safe="")
        return f"{POSTGRESQL}{user}@{host}:{self.port}/{name}"


Place = SqliteFile | PostgresqlServer


def place_of(section: "StoreSection", base: Path, data: Path, problems: Problems) -> Place | None:
    """What [store] names; None where it is wrong, and that is noted. No address is shown: it may
    hold a password."""
    url = section.url.reveal()
    if url.startswith(POSTGRESQL):
        return _server(section, base, problems)
    for key, given in (
        ("password", bool(section.password)),
        ("sslmode", section.sslmode != "auto"),
        ("ca", bool(section.ca)),
    ):
        if given:
            problems.add(f"store.{key}", None, "goes with a store.url of postgresql:// alone")
    return _file(section.url, base, data, problems)


def _file(url: Secret, base: Path, data: Path, problems: Problems) -> SqliteFile | None:
    if not url:
        return SqliteFile(data / "inhouse.db")
    path = url.reveal().removeprefix(SQLITE)
    if not url.reveal().startswith(SQLITE) or not path.strip("/") or any(c in path for c in "?#"):
        sentence = "must be sqlite:///PATH or postgresql://USER@HOST:PORT/NAME"
        problems.add("store.url", url, sentence)
        return None
    try:
        return SqliteFile(resolved(base, path))
    except ValueError as error:
        problems.add("store.url", url, str(error))
        return None


def _server(section: "StoreSection", base: Path, problems: Problems) -> PostgresqlServer | None:
    url = section.url
    parts = _parts(url.reveal())
    port = int((parts and parts["port"]) or PORT)
    if parts is None or not 1 <= port <= 65_535:
        problems.add(
            "store.url",
            url,
            "must be postgresql://USER@HOST:PORT/NAME, the port from 1 to 65535, other characters "
            "of a name as %XX, and nothing behind it: TLS is store.sslmode and store.ca",
        )
        return None
    if parts["password"] and section.password:
        problems.add("store.password", section.password, "stands in store.url too; give it once")
        return None
    host = parts["host"] or SOCKETS
    sslmode = section.sslmode
    if sslmode == "auto":
        sslmode = "prefer" if _is_here(host) else "verify-full"
    authority = _authority(section.ca, host, sslmode, base, problems)
    return PostgresqlServer(
        host=host,
        port=port,
        user=parts["user"],
        name=parts["name"],
        password=Secret(parts["password"]) if parts["password"] else section.password,
        sslmode=sslmode,
        authority=authority,
    )


def _parts(url: str) -> dict[str, str] | None:
    """The parts of an address, unquoted; None where it is none."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return None
    try:
        parts = {
            name: unquote(text or "", errors="strict") for name, text in match.groupdict().items()
        }
    except UnicodeDecodeError:
        return None
    host = parts["host"] = parts["host"].strip("[]")
    named = not host or host.startswith("/") or _HOST.fullmatch(host) or _is_address(host)
    return parts if named and all(text.isprintable() for text in parts.values()) else None


def _authority(ca: str, host: str, sslmode: str, base: Path, problems: Problems) -> Path | None:
    if not ca:
        if sslmode.startswith("verify"):
            problems.add(
                "store.ca",
                None,
                f"is missing: the PEM file of the authority behind the certificate of {host}, "
                f"which store.sslmode {sslmode} verifies (the default beyond this machine)",
            )
        return None
    try:
        path = resolved(base, ca)
        opened(path).close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.add("store.ca", ca, f"cannot be read: {reason}")
        return None
    return path


def _is_here(host: str) -> bool:
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.startswith("/") or host == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
