"""TLS at the listener: 1.3 and nothing older, with certificates that change while it serves.

    files ──changed──► loaded aside ──good──► used by the next handshake
                             └── bad ──► the old one serves on, and the log says why

Connections that are open keep what they were opened with.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

from inhouse.errors import UsageError

log = logging.getLogger("inhouse.gateway")

WATCH_S = 5.0
RENEW_EVERY_S = 86_400.0
HSTS = b"strict-transport-security: max-age=31536000\r\n"


class Certificates:
    """The certificate and key of a listener. `context` is what the listener holds; each handshake
    is given the context that was loaded last, whole: a context in use is never changed."""

    def __init__(
        self, certificate: Path, key: Path, renew: Callable[[], object] | None = None
    ) -> None:
        """`renew` sees to it that the files are fit to be used, where they are our own making.

        Raises UsageError where they cannot be used.
        """
        self._certificate = certificate
        self._key = key
        self._renew = renew
        self._seen = self._stamp()
        self._current = self._loaded()
        self.context = self._loaded()
        self.context.sni_callback = self._offer
        self._task: asyncio.Task[None] | None = None

    def watch(self, every_s: float = WATCH_S, renew_every_s: float = RENEW_EVERY_S) -> None:
        """Use what stands in the files from now on, as it changes."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._watch(every_s, renew_every_s))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def reload(self) -> bool:
        """Use what stands in the files now. False where that cannot be used: nothing changes."""
        try:
            self._current = self._loaded()
        except UsageError as error:
            log.error("the new certificate is not used: %s", error)
            return False
        log.info("the certificate in %s is in use", self._certificate)
        return True

    def _offer(self, handshake: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        handshake.context = self._current

    async def _watch(self, every_s: float, renew_every_s: float) -> None:
        loop = asyncio.get_running_loop()
        renewed_at = loop.time()
        while True:
            await asyncio.sleep(every_s)
            try:
                if self._renew is not None and loop.time() - renewed_at > renew_every_s:
                    renewed_at = loop.time()
                    await asyncio.to_thread(self._renew)
                stamp = self._stamp()
                if stamp != self._seen:
                    self._seen = stamp
                    await asyncio.to_thread(self.reload)
            except Exception:  # the outermost net: a watch that ended would end in an expiry
                log.exception("the certificates could not be looked at")

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
            unread = next(filter(_unreadable, (self._certificate, self._key)), self._key)
            raise UsageError(f"{unread} cannot be read: {error.strerror or error}") from error
        return context


def _no_password() -> bytes:
    """A key under a password would have OpenSSL ask for it on the terminal."""
    return b""


def _unreadable(path: Path) -> bool:
    return not os.access(path, os.R_OK)


def _file_stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
