"""Keeps the ring of keys current, from a thread of its own.

    every 0.5 s: ask for the store's revision ──changed──► read all keys, replace the ring
    every 30 s, and at the end: write down when keys were last used

A store that is away changes nothing for requests: the ring stays as it last was, and the log says
so once when it goes and once when it is back.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from inhouse.config.keyfile import read_or_create
from inhouse.config.schema import Config
from inhouse.errors import UsageError
from inhouse.identity.keyring import KeyRing
from inhouse.identity.keys import pepper_path
from inhouse.store import keys as store
from inhouse.store.database import Database

log = logging.getLogger("inhouse.identity")

POLL_S = 0.5
USE_EVERY_S = 30.0


class KeyWatcher:
    """A ring that follows the store."""

    def __init__(self, config: Config, *, poll_s: float = POLL_S) -> None:
        self.ring = KeyRing(read_or_create(pepper_path(config)))
        self._config = config
        self._poll_s = poll_s
        self._database = Database(config.store_url)
        self._revision = -1
        self._away = False
        self._noted = time.time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="key-watcher", daemon=True)

    def start(self) -> None:
        """Read the keys once, then follow. Raises UsageError where the store cannot be read."""
        try:
            self.follow()
        except SQLAlchemyError as error:
            raise UsageError(f"the keys cannot be read: {error}") from error
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._guarded(self._note_use)
        self._database.engine.dispose()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            self._guarded(self.follow)
            if time.time() - self._noted > USE_EVERY_S:
                self._guarded(self._note_use)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except SQLAlchemyError as error:
            if not self._away:
                log.error("the store is away; keys stay as they were: %s", error)
            self._away = True
        else:
            if self._away:
                log.warning("the store is back; keys are current")
            self._away = False

    def follow(self) -> None:
        """Hold the keys that the store has now. Raises SQLAlchemyError where it is away."""
        revision = store.revision_of(self._database)
        if revision != self._revision:
            self.ring.replace(store.all_keys(self._database))
            self._revision = revision

    def _note_use(self) -> None:
        since, self._noted = self._noted, time.time()
        used = self.ring.used_since(since)
        if used:
            store.note_use(self._database, used)
