"""One small answer from the provider: over TLS, within a deadline and a size.

No proxy of the environment, no redirect, no kept connection, no cookie.
"""

import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from inhouse.errors import UsageError
from inhouse.identity.strict import NotStrict, json_object

MAX_ANSWER_BYTES = 1_048_576


class NotFetched(Exception):
    """The provider did not answer as it must; the sentence says what was wrong."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered. It may hold tokens, and shows none."""

    url: str
    status: int
    cache_control: str
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.url!r}, {self.status})"

    def document(self) -> dict[str, Any]:
        """Its JSON object, read strictly. Raises NotFetched."""
        try:
            return json_object(self.body)
        except NotStrict as error:
            raise NotFetched(f"what {self.url} answered {error}") from error


class Wire:
    """How a provider is asked. Calls block, for `timeout_s` at most: not on an event loop."""

    def __init__(self, timeout_s: float, authorities: Path | None = None) -> None:
        """`authorities`: a PEM file; those of the system where there is none. Raises UsageError
        where it holds none."""
        self._timeout_s = timeout_s
        try:
            self._tls = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise UsageError(
                f"oidc.ca_file: {authorities} is no PEM file of certificates"
            ) from error
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    def get(self, url: str) -> Answer:
        """Raises NotFetched."""
        return self._asked("GET", url, "", b"")

    def post(self, url: str, form: bytes, authorization: str = "") -> Answer:
        """A form. Raises NotFetched."""
        head = "Content-Type: application/x-www-form-urlencoded\r\n"
        head += f"Content-Length: {len(form)}\r\n"
        if authorization:
            head += f"Authorization: {authorization}\r\n"
        return self._asked("POST", url, head, form)

    def _asked(self, method: str, url: str, head: str, body: bytes) -> Answer:
        try:
            answer, content = self._answer(method, url, head, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotFetched(f"{url} cannot be had: {error or type(error).__name__}") from error
        return Answer(url, answer.status, answer.getheader("cache-control", ""), content)

    def _answer(
        self, method: str, url: str, head: str, body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        parts = urlsplit(url)
        host, tls = parts.hostname or "", parts.scheme == "https"
        until = time.monotonic() + self._timeout_s
        address = (host, parts.port or (443 if tls else 80))
        with socket.create_connection(address, self._timeout_s) as plain:
            connection = self._tls.wrap_socket(plain, server_hostname=host) if tls else plain
            with connection:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.settimeout(_left(until))
                connection.sendall(
                    f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                    "Accept: application/json\r\nAccept-Encoding: identity\r\n"
                    f"User-Agent: inhouse\r\nConnection: close\r\n{head}\r\n".encode()
                    + body
                )
                answer = http.client.HTTPResponse(_Source(connection, until), method=method)  # type: ignore[arg-type]
                answer.begin()
                return answer, answer.read()


class _Source(io.RawIOBase):
    """A connection's bytes, as far as time and size allow."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until
        self._room = MAX_ANSWER_BYTES

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_left(self._until))
        count = self._connection.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise OSError(f"it is larger than {MAX_ANSWER_BYTES} bytes")
        return count


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
