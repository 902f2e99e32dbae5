"""TLS at the listener: 1.3 and nothing older, with certificates that change while it serves.

    files ──changed──► loaded aside ──good──► used by the next handshake
                             └── bad ──► the old one serves on, and the log says why

Connections that are open keep what they were opened with.
"""

import asyncio
import logging
import ssl
from pathlib import Path

from inhouse.errors import UsageError

log = logging.getLogger("inhouse.gateway")

WATCH_S = 5.0
HANDSHAKE_S = 10.0
HSTS = b"strict-transport-security: max-age=31536000\r\n"


class Certificates:
    """The certificate and key of a listener, and the context that offers them."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises UsageError where they cannot be used."""
        self._certificate = certificate
        self._key = key
        self._seen = self._stamp()
        self.context = self._loaded()
        self._task: asyncio.Task[None] | None = None

    def watch(self, every_s: float = WATCH_S) -> None:
        """Use what stands in the files from now on, as it changes."""
        self._task = asyncio.get_running_loop().create_task(self._watch(every_s))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def reload(self) -> bool:
        """Use what stands in the files now. False where that cannot be used: nothing changes."""
        try:
            self._loaded()  # aside, so that a bad pair never reaches the context in use
            self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (UsageError, ssl.SSLError, OSError) as error:
            log.error("the new certificate is not used: %s", error)
            return False
        log.info("the certificate in %s is in use", self._certificate)
        return True

    async def _watch(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                await asyncio.to_thread(self.reload)

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_file_stamp(path) for path in (self._certificate, self._key))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise UsageError(
                f"tls.certificate {self._certificate} and tls.key {self._key} do not go together, "
                f"or are no PEM files of a certificate and its key: {error.reason}"
            ) from error
        except OSError as error:
            missing = next(
                (each for each in (self._certificate, self._key) if not each.exists()), self._key
            )
            raise UsageError(f"{missing} cannot be read: {error.strerror or error}") from error
        return context


def _no_password() -> bytes:
    """A key under a password would have OpenSSL ask for it on the terminal."""
    return b""


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
