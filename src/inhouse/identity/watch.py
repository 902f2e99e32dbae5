"""Keeps the ring of keys current, from a thread of its own.

    every 0.5 s: the same file, the same revision? ──no──► read all keys, replace the ring
    every 30 s, and at the end: write down when keys were last used

A store that is away, whatever the reason, changes nothing for requests: the ring stays as it last
was. A key that is revoked meanwhile still works, so the log says it when the store goes, every
minute, and when it is back; and `away_since` says it to whoever asks.
"""

import logging
import threading
import time
from collections.abc import Callable

from inhouse.config.schema import Config
from inhouse.identity.keyring import KeyRing
from inhouse.identity.pepper import pepper
from inhouse.store import keys as store
from inhouse.store.database import Database

log = logging.getLogger("inhouse.identity")

POLL_S = 0.5
FOLLOWED_S = POLL_S + 0.25  # after which a change is known to every ring
USE_EVERY_S = 30.0
SAY_EVERY_S = 60.0
STALE_S = 15.0  # a look that takes so long hangs; it is longer than the database's own patience


class KeyWatcher:
    """A ring that follows the store."""

    def __init__(self, config: Config, *, poll_s: float = POLL_S) -> None:
        """Opens the store, making it where it is not there. Raises UsageError."""
        self._config = config
        self._poll_s = poll_s
        self._database = Database(config.database, make=True)
        self.ring = KeyRing(pepper(config, self._database))
        self._known: tuple[int, ...] = ()  # the file and the revision that the ring holds
        self._current_at = time.monotonic()
        self._away = False
        self._said_at = 0.0
        self._noted = time.time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="key-watcher", daemon=True)

    def start(self) -> None:
        """Read the keys once, then follow. Raises UsageError where the store cannot be read."""
        self.follow()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._guarded(self._note_use)

    @property
    def away_since(self) -> float | None:
        """Since when the keys are not known to be current (monotonic); None while they are.

        True of a store that cannot be read, and of a watcher that hangs or is dead."""
        stale = time.monotonic() - self._current_at > STALE_S
        return self._current_at if self._away or stale else None

    def follow(self) -> None:
        """Hold the keys that the store has now. Raises UsageError where it is away."""
        mark = self._database.mark()
        with self._database.reading() as connection:
            known = (*mark, store.revision_of(connection))
            if known != self._known:
                self.ring.replace(store.all_keys(connection))
        self._known = known
        self._current_at = time.monotonic()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            self._guarded(self.follow)
            if time.time() - self._noted > USE_EVERY_S:
                self._guarded(self._note_use)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a watcher that dies leaves revoked keys alive
            self._failed(error)
        else:
            if self._away:
                log.warning("the store is back; keys are current")
            self._away = False

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        if not self._away or now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            log.error(
                "keys are as they were %.0f s ago, and a key revoked since then still works: %s",
                now - self._current_at,
                error,
            )
        self._away = True

    def _note_use(self) -> None:
        since, self._noted = self._noted, time.time()
        used = self.ring.used_since(since)
        if used:
            with self._database.writing() as connection:
                store.note_use(connection, used)
