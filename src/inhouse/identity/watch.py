"""Keeps the directory current, from a thread of its own.

    every 0.5 s: the same data, the same revision? ──no──► read all of it, replace the directory
    every 30 s, and at the end: write down when keys and users were last seen, and who is new

A store that is away, whatever the reason, changes nothing for requests: the directory stays as it
last was. A key that is revoked meanwhile still works, so the log says it when the store goes, every
minute, and when it is back; and `away_since` says it to whoever asks.

A database of a server may be away at the start, too. All is then as in the last good
snapshot, where there is one, until it is back.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from inhouse.config.keyfile import read_existing
from inhouse.config.schema import Config
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity import snapshot
from inhouse.identity.actor import Actor
from inhouse.identity.directory import Directory, Person, Sight
from inhouse.identity.grants import BREAK_GLASS, alarm
from inhouse.identity.keyring import KeyRing
from inhouse.identity.ledger import Ledger
from inhouse.identity.pepper import pepper, pepper_path
from inhouse.identity.policy import pairs_of
from inhouse.identity.snapshot import Snapshot
from inhouse.identity.users import Users
from inhouse.store import keys as key_store
from inhouse.store import users as user_store
from inhouse.store.database import DatabaseAway, Mark, database_at
from inhouse.store.state import State, read_state

log = logging.getLogger("inhouse.identity")

POLL_S = 0.5
FOLLOWED_S = POLL_S + 0.25  # after which a change is known to every ring
USE_EVERY_S = 30.0
SAY_EVERY_S = 60.0
STALE_S = 15.0  # a look that takes so long hangs; it is longer than the database's own patience


MOST_NEW = 100  # persons written down at once, each with a record of its own


class KeyWatcher:
    """A directory that follows the store."""

    def __init__(self, config: Config, *, poll_s: float = POLL_S) -> None:
        """Opens the store, making it where it is not there. Raises UsageError,
        ConfigurationError."""
        separate = pairs_of(config.settings.access.separate)
        self._config = config
        self._poll_s = poll_s
        self._database = database_at(config.database, keep=True)
        self._snapshot = config.data / "keys.snapshot"
        self._opened = False
        self._known: Mark = ()  # of the view that the directory holds
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
            self._pepper, state = self._begin()
        except BaseException:
            self._database.close()
            raise
        self.directory = Directory(self._pepper, separate)
        self.directory.replace(state)
        self._alarmed: set[str] = set()  # break-glass grants that were told
        self._standing: tuple[float, ...] = ()  # when those that stand end
        self._watch_glass(state)

    @property
    def ring(self) -> KeyRing:
        return self.directory.ring

    def break_glass(self) -> int:
        """How many break-glass grants stand now."""
        now = time.time()
        return sum(now < end for end in self._standing)

    def start(self) -> None:
        """Read everything once, then follow. Raises UsageError where the store cannot be read."""
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
        """Go by what the store has now. Raises UsageError where it is away."""
        with self._following:
            if not self._opened:  # it was away at the start
                self._reopen()
            with self._database.viewing() as (connection, mark):
                changed = read_state(connection) if mark != self._known else None
            if changed is not None:
                self.directory.replace(changed)
                self._known = mark
                self._watch_glass(changed)
                self._keep(changed)
            self._current_at = time.monotonic()

    def _watch_glass(self, state: State) -> None:
        """Alarm where somebody broke the glass, whichever process they did it with."""
        now = time.time()
        names = {user.id: user.name for user in state.users}
        standing = [g for g in state.grants if g.origin == BREAK_GLASS and g.stands(now)]
        for grant in standing:
            if grant.id not in self._alarmed:
                alarm(grant, names.get(grant.holder, grant.holder))
        self._alarmed = {grant.id for grant in standing}
        self._standing = tuple(grant.expires or float("inf") for grant in standing)

    def _begin(self) -> tuple[bytes, State]:
        """The pepper, and what to go by until the first look at the store."""
        try:
            return self._open(), State()
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

    def _last_good(self, why: DatabaseAway) -> tuple[bytes, State]:
        """The pepper and what is in the snapshot. Raises `why` where there is none."""
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
            len(kept.state.keys),
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept.taken)),
            why,
        )
        return found, kept.state

    def _keep(self, state: State) -> None:
        """Write the snapshot, where the database may be away while this machine is not."""
        if not self._database.shared:
            return
        now = time.time()
        kept = Snapshot(self._database.name, now, snapshot.worth_keeping(state, now))
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
        keys, users = self.ring.used_since(self._used_since)
        persons = self.directory.take_seen()
        for person, sight in persons.items():
            known = self.directory.known(person)
            if known is not None:
                users[known.id] = max(sight.at, users.get(known.id, 0.0))
        new = [each for each in persons.items() if self.directory.known(each[0]) is None]
        try:
            if keys or users:
                with self._database.writing() as connection:
                    key_store.note_use(connection, keys)
                    user_store.note_seen(connection, users)
            self._note_new(new[:MOST_NEW])
        except Exception as error:  # noqa: BLE001 - it says nothing about whether keys are current
            log.warning("when keys and users were last seen could not be written down: %s", error)
        else:
            self._used_since = now

    def _note_new(self, new: list[tuple[Person, Sight]]) -> None:
        """Persons who came with a token and are not known; who is left out comes again."""
        if not new:
            return
        users = Users(Ledger(self._config, database=self._database))
        for (issuer, subject), sight in new:
            with contextlib.suppress(NegativeAnswer):  # another gateway was first
                users.first_seen(Actor.gateway(), issuer, subject, sight.name, sight.at)
