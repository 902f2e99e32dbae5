"""TLS at the listener: 1.3 and nothing older, with certificates that change while it serves.

    files ──changed──► loaded aside ──good──► used by the next handshake
                             └── bad ──► the old one serves on, and the log says why

Connections that are open keep what they were opened with.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from inhouse.config.certificates import examined
from inhouse.errors import UsageError

log = logging.getLogger("inhouse.gateway")

WATCH_S = 5.0
DAILY_S = 86_400.0
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
        self._look()
        self._current = self._loaded()
        self.context = self._loaded()
        self.context.sni_callback = self._offer
        self._task: asyncio.Task[None] | None = None

    def watch(self, every_s: float = WATCH_S, daily_s: float = DAILY_S) -> None:
        """Use what stands in the files from now on, as it changes. Once a day, see to it that they
        are renewed, or say that their end is near."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._watch(every_s, daily_s))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def reload(self) -> bool:
        """Use what stands in the files now. False where that cannot be used: nothing changes."""
        try:
            notes = self._look()
            self._current = self._loaded()
        except UsageError as error:
            log.error("the new certificate is not used: %s", error)
            return False
        log.info("the certificate in %s is in use", self._certificate)
        for note in notes:
            log.warning("%s", note)
        return True

    def _offer(self, handshake: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        handshake.context = self._current

    async def _watch(self, every_s: float, daily_s: float) -> None:
        loop = asyncio.get_running_loop()
        day_began = loop.time()
        while True:
            await asyncio.sleep(every_s)
            try:
                if loop.time() - day_began > daily_s:
                    day_began = loop.time()
                    await asyncio.to_thread(self._renew or self._remind)
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
        except OSError as error:  # changed since it was looked at
            reason = getattr(error, "reason", None) or error.strerror or str(error)
            raise UsageError(
                f"tls.certificate {self._certificate} and tls.key {self._key} cannot be used: "
                f"{reason}"
            ) from error
        return context

    def _look(self) -> tuple[str, ...]:
        """Notes on the pair in the files. Raises UsageError where it cannot be used; one that has
        ended cannot."""
        found = examined(self._certificate, self._key, datetime.now(UTC))
        paths = {"tls.certificate": self._certificate, "tls.key": self._key}
        if found.faults:
            sentences = (f"{each.key} {paths[each.key]} {each.sentence}" for each in found.faults)
            raise UsageError("; ".join(sentences))
        return found.notes

    def _remind(self) -> None:
        """Say in the log what is wrong with the pair in the files, or soon will be."""
        try:
            for note in self._look():
                log.warning("%s", note)
        except UsageError as error:
            log.error("%s", error)


def _no_password() -> bytes:
    """A key under a password would have OpenSSL ask for it on the terminal."""
    return b""


def _file_stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
