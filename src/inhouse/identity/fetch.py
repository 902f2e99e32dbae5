"""One small answer from the provider: over TLS, within a deadline and a size.

No proxy of the environment, no redirect, no kept connection, no cookie: keys come from the address
that was configured, or that the provider's own document names.
"""

import http.client
import io
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from inhouse.config.oidc import secure
from inhouse.config.schema import Config
from inhouse.errors import UsageError
from inhouse.identity.strict import NotStrict, json_object

MAX_ANSWER_BYTES = 1_048_576
WELL_KNOWN = "/.well-known/openid-configuration"
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.IGNORECASE)


class NotFetched(Exception):
    """The provider did not answer as it must; the sentence says what was wrong."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JWK set, and for how long the provider says that it is good."""

    document: dict[str, Any]
    max_age_s: int | None


class Provider:
    """Where one provider's keys are fetched from."""

    def __init__(self, config: Config) -> None:
        """Raises UsageError where the file of authorities is none."""
        oidc = config.settings.oidc
        self._issuer = oidc.issuer
        self._jwks_url = oidc.jwks_url
        self._timeout_s = oidc.fetch_timeout_s
        try:
            self._tls = ssl.create_default_context(cafile=config.oidc_ca)
        except OSError as error:
            raise UsageError(
                f"oidc.ca_file: {config.oidc_ca} is no PEM file of certificates"
            ) from error
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    def fetch(self) -> Fetched:
        """The keys as they are now. Raises NotFetched."""
        return self._get(self._jwks_url or self._discover())

    def _discover(self) -> str:
        document = self._get(self._issuer.rstrip("/") + WELL_KNOWN).document
        if document.get("issuer") != self._issuer:
            raise NotFetched(
                f"the provider calls itself {document.get('issuer')!a}, and oidc.issuer is "
                f"'{self._issuer}': they must be the same, to the last character"
            )
        url = document.get("jwks_uri")
        if type(url) is not str or not secure(url):
            raise NotFetched("the provider's document has no jwks_uri with https")
        if urlsplit(url).hostname != urlsplit(self._issuer).hostname:
            raise NotFetched(
                f"the provider's keys are at another host, {url!a}; where that is right, "
                "set oidc.jwks_url to it"
            )
        return url

    def _get(self, url: str) -> Fetched:
        try:
            answer, body = self._answer(url)
            if answer.status != http.client.OK:
                raise NotFetched(f"{url} answered {answer.status}; it must be 200")
            return Fetched(json_object(body), _max_age_s(answer.getheader("cache-control", "")))
        except NotStrict as error:
            raise NotFetched(f"what {url} answered {error}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotFetched(f"{url} cannot be had: {error or type(error).__name__}") from error

    def _answer(self, url: str) -> tuple[http.client.HTTPResponse, bytes]:
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
                    f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                    "Accept: application/json\r\nAccept-Encoding: identity\r\n"
                    "User-Agent: inhouse\r\nConnection: close\r\n\r\n".encode()
                )
                answer = http.client.HTTPResponse(_Source(connection, until), method="GET")  # type: ignore[arg-type]
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


def _max_age_s(cache_control: str) -> int | None:
    """What `Cache-Control` allows, in seconds: 0 where it forbids to keep; None where it is
    silent."""
    if re.search(r"\bno-(?:store|cache)\b", cache_control, re.IGNORECASE):
        return 0
    match = _MAX_AGE.search(cache_control)
    return int(match.group(1)) if match else None
