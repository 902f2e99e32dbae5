"""Keeps the ring of keys current, from a thread of its own.

    every 0.5 s: the same data, the same revision? ──no──► read all keys, replace the ring
    every 30 s, and at the end: write down when keys were last used

A store that is away, whatever the reason, changes nothing for requests: the ring stays as it last
was. A key that is revoked meanwhile still works, so the log says it when the store goes, every
minute, and when it is back; and `away_since` says it to whoever asks.

A database of a server may be away at the start, too. The keys are then those of the last good
snapshot, where there is one, until it is back.
"""

import logging
import threading
import time
from collections.abc import Callable

from inhouse.config.keyfile import read_existing
from inhouse.config.schema import Config
from inhouse.errors import UsageError
from inhouse.identity import snapshot
from inhouse.identity.keyring import KeyRing
from inhouse.identity.pepper import pepper, pepper_path
from inhouse.identity.snapshot import Snapshot
from inhouse.store import keys as store
from inhouse.store.database import DatabaseAway, Mark, database_at
from inhouse.store.keys import StoredKey

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
        self._database = database_at(config.database, keep=True)
        self._snapshot = config.data / "keys.snapshot"
        self._opened = False
        self._known: Mark = ()  # of the view that the ring holds
        self._current_at = time.monotonic()
        self._away = False
        self._missed = 0  # looks in a row that failed
        self._said: type[Exception] = DatabaseAway
        self._said_at = 0.0
        self._noted = self._used_since = time.time()
        self._following = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="key-watcher", daemon=True)
        try:
            self._pepper, keys = self._begin()
        except BaseException:
            self._database.close()
            raise
        self.ring = KeyRing(self._pepper)
        self.ring.replace(keys)

    def start(self) -> None:
        """Read the keys once, then follow. Raises UsageError where the store cannot be read."""
        if self._opened:
            self.follow()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        if not self._away:
            self._note_use()
        self._database.close()

    @property
    def away_since(self) -> float | None:
        """Since when the keys are not known to be current (monotonic); None while they are.

        True of a store that cannot be read, and of a watcher that hangs or is dead."""
        stale = time.monotonic() - self._current_at > STALE_S
        return self._current_at if self._away or stale else None

    def follow(self) -> None:
        """Hold the keys that the store has now. Raises UsageError where it is away."""
        with self._following:
            if not self._opened:  # it was away at the start
                self._reopen()
            with self._database.viewing() as (connection, mark):
                changed = store.all_keys(connection) if mark != self._known else None
            if changed is not None:
                self.ring.replace(changed)
                self._known = mark
                self._keep(changed)
            self._current_at = time.monotonic()

    def _begin(self) -> tuple[bytes, tuple[StoredKey, ...]]:
        """The pepper, and what to hold until the first look at the store."""
        try:
            return self._open(), ()
        except DatabaseAway as error:
            return self._last_good(error)

    def _open(self) -> bytes:
        self._database.open(make=True)
        found = pepper(self._config, self._database)
        self._opened = True
        return found

    def _reopen(self) -> None:
        """Open what had keys before. Raises UsageError where there is nothing in it now."""
        if not self._database.exists():
            raise UsageError(f"the database {self._database.name} is empty; restore its backup")
        self._open()

    def _last_good(self, why: DatabaseAway) -> tuple[bytes, tuple[StoredKey, ...]]:
        """The pepper and the keys of the snapshot. Raises `why` where there is none."""
        path = pepper_path(self._config)
        if not path.exists():
            raise why
        found = read_existing(path)
        kept = snapshot.read(self._snapshot, found, self._database.name)
        if kept is None:
            raise why
        self._away, self._said_at = True, time.monotonic()
        log.error(
            "starting with %d keys as they were at %s, and a key revoked since this gateway last "
            "ran still works: %s",
            len(kept.keys),
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept.taken)),
            why,
        )
        return found, kept.keys

    def _keep(self, keys: list[StoredKey]) -> None:
        """Write the snapshot, where the database may be away while this machine is not."""
        if not self._database.shared:
            return
        now = time.time()
        kept = Snapshot(self._database.name, now, snapshot.worth_keeping(keys, now))
        try:
            snapshot.write(self._snapshot, self._pepper, kept)
        except OSError as error:
            log.error("%s cannot be written: %s", self._snapshot, error.strerror)

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            self._guarded(self.follow)
            if not self._away and time.time() - self._noted > USE_EVERY_S:
                self._note_use()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a watcher that dies leaves revoked keys alive
            self._failed(error)
        else:
            if self._away:
                log.warning("the store is back; keys are current")
            self._away, self._missed = False, 0

    def _failed(self, error: Exception) -> None:
        self._missed += 1
        if self._missed == 1 and isinstance(error, DatabaseAway) and not self._away:
            return  # a connection was cut in the middle of a look; the next one has another
        now = time.monotonic()
        another = type(error) is not self._said  # it answers again, and refuses, say
        if not self._away or another or now - self._said_at >= SAY_EVERY_S:
            self._said, self._said_at = type(error), now
            log.error(
                "keys are as they were %.0f s ago, and a key revoked since then still works: %s",
                now - self._current_at,
                error,
            )
        self._away = True

    def _note_use(self) -> None:
        self._noted = now = time.time()
        used = self.ring.used_since(self._used_since)
        try:
            if used:
                with self._database.writing() as connection:
                    store.note_use(connection, used)
        except Exception as error:  # noqa: BLE001 - it says nothing about whether keys are current
            log.warning("when keys were last used could not be written down: %s", error)
        else:
            self._used_since = now
