"""Sessions of people: made at login, checked from memory, ended for good.

    login ──► a new token, always; the session that the browser had before is ended
    request ─► digest of the token ──► in the ring, not over, not idle ──► whose it is
    logout ──► this session, or all of that person, or those that the provider names

The token is 256 random bits; the store holds its HMAC, under a key derived from the pepper. Every
process follows the store: the watcher calls `follow` when the store changed, and `note_use` now
and then. Rights are not kept here: a session says who it is, and the groups as they were at login.
"""

import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from inhouse.config.people import LoginSection
from inhouse.config.secrets import Secret
from inhouse.identity.claims import Identity
from inhouse.identity.strict import to_base64url
from inhouse.identity.token import new_id
from inhouse.mac import Mac
from inhouse.store import sessions as store
from inhouse.store.database import Database, Transaction
from inhouse.store.revision import revision_of
from inhouse.store.sessions import StoredSession
from inhouse.telemetry import Clock

TOKEN_BYTES = 32
_TOKEN = re.compile(rb"ihs_[A-Za-z0-9_-]{43}")
OWN_CHANGE_S = 2.0  # how long an older view of the store is passed over, after a change of ours


class Session:
    """A session that is live, as requests see it."""

    __slots__ = (
        "expires",
        "groups",
        "id",
        "idle_s",
        "issuer",
        "last_seen",
        "name",
        "provider_session",
        "roles",
        "subject",
    )

    def __init__(self, stored: StoredSession) -> None:
        self.id = stored.id
        self.issuer = stored.issuer
        self.subject = stored.subject
        self.name = stored.name
        self.roles = stored.roles
        self.groups = stored.groups
        self.provider_session = stored.provider_session
        self.idle_s = stored.idle_s
        self.expires = stored.expires
        self.last_seen = stored.last_seen

    def __repr__(self) -> str:
        return f"Session({self.id!r}, {self.issuer!r}, {self.subject!r})"

    def is_live(self, now: float) -> bool:
        return now < self.expires and now < self.last_seen + self.idle_s


class SessionRing:
    """Checks presented tokens. No I/O, no waiting, no exception whatever is presented."""

    def __init__(self, pepper: bytes) -> None:
        self._mac = Mac(hmac.digest(pepper, b"inhouse: tokens of sessions", "sha256"))
        self._csrf = Mac(hmac.digest(pepper, b"inhouse: requests of sessions", "sha256"))
        self._held: dict[bytes, Session] = {}

    def __repr__(self) -> str:
        return f"SessionRing({len(self._held)} sessions)"

    def __len__(self) -> int:
        return len(self._held)

    def digest(self, token: bytes) -> bytes:
        return self._mac.digest(token)

    def check(self, token: bytes | None, now: float) -> Session | None:
        """Whose session this is at `now`; None for none. It is found by a keyed digest, so how long
        the look takes tells nothing of tokens."""
        session = self.of(token)
        if session is None or not session.is_live(now):
            return None
        session.last_seen = max(session.last_seen, now)
        return session

    def of(self, token: bytes | None) -> Session | None:
        """The session of this token, idle or not, without being seen."""
        if token is None or not _TOKEN.fullmatch(token):
            return None
        return self._held.get(self.digest(token))

    def proof(self, token: bytes) -> str:
        """What a page of this session sends with every request that changes something."""
        return to_base64url(self._csrf.digest(token)).decode()

    def proves(self, token: bytes, presented: bytes) -> bool:
        return hmac.compare_digest(self.proof(token).encode(), presented)

    def all(self) -> list[Session]:
        return list(self._held.values())

    def replace(self, stored: Iterable[StoredSession]) -> None:
        """Hold these from now on."""
        held = {}
        for each in stored:
            held[each.digest] = session = Session(each)
            known = self._held.get(each.digest)
            if known is not None:
                session.last_seen = max(session.last_seen, known.last_seen)
        self._held = held

    def add(self, stored: StoredSession) -> None:
        self._held = self._held | {stored.digest: Session(stored)}

    def drop(self, ids: Iterable[str]) -> None:
        gone = set(ids)
        self._held = {d: each for d, each in self._held.items() if each.id not in gone}

    def seen_since(self, since: float) -> dict[str, float]:
        return {each.id: each.last_seen for each in self.all() if each.last_seen > since}

    def learn(self, seen: Mapping[str, float]) -> None:
        """What other processes saw."""
        for each in self.all():
            each.last_seen = max(each.last_seen, seen.get(each.id, 0.0))


@dataclass(frozen=True, slots=True)
class Begun:
    """A new session: its token, shown this once, and for how long a browser keeps it."""

    token: Secret
    id: str
    max_age_s: int


class Sessions:
    """The life of sessions. What writes waits for the database: call it from a thread, not from
    the event loop. Everything that writes raises UsageError where the store is away."""

    def __init__(
        self, login: LoginSection, database: Database, pepper: bytes, *, clock: Clock = time.time
    ) -> None:
        """`database` is open already."""
        self._idle_s = 60.0 * login.idle_minutes
        self._absolute_s = 3600.0 * login.absolute_hours
        self._most = login.sessions_per_person
        self._database = database
        self._clock = clock
        self.ring = SessionRing(pepper)
        self._noted = clock()
        self._turn = threading.Lock()
        self._changed = (0, 0.0)  # revision and monotonic time of our own last change

    def begin(
        self, person: Identity, provider_session: str = "", presented: bytes | None = None
    ) -> Begun:
        """A session for somebody who just logged in. `presented` is the token that the browser had
        before, whoever it was of: it ends here."""
        now = self._clock()
        token = f"ihs_{to_base64url(secrets.token_bytes(TOKEN_BYTES)).decode()}"
        new = StoredSession(
            id=new_id(),
            digest=self.ring.digest(token.encode()),
            issuer=person.issuer,
            subject=person.subject,
            name=person.name,
            roles=person.roles,
            groups=person.groups,
            provider_session=provider_session,
            created=now,
            last_seen=now,
            idle_s=self._idle_s,
            expires=now + self._absolute_s,
        )
        before = None if presented is None else self.ring.digest(presented)

        def over(each: StoredSession, theirs: list[StoredSession]) -> bool:
            return each.digest == before or each in theirs[: 1 - self._most or None]

        with self._database.changing() as connection:
            known = store.live(connection, now)
            theirs = [each for each in known if _same_person(each, person.issuer, person.subject)]
            ended = [each.id for each in known if over(each, theirs)]
            store.end(connection, ended, now)
            store.forget(connection, now)
            store.insert(connection, new)
            revision = revision_of(connection) + 1
        with self._turn:
            self._changed = (revision, time.monotonic())
            self.ring.drop(ended)
            self.ring.add(new)
        return Begun(Secret(token), new.id, int(self._absolute_s))

    def end(self, token: bytes) -> int:
        """Log out of one session."""
        digest = self.ring.digest(token)
        return self._end(lambda each: each.digest == digest)

    def end_all(self, issuer: str, subject: str) -> int:
        """Log a person out everywhere; how many sessions that ended."""
        return self._end(lambda each: _same_person(each, issuer, subject))

    def end_of_provider(self, issuer: str, subject: str, provider_session: str) -> int:
        """What a provider's logout names: one of its sessions, or, where it names none, all of a
        person."""
        if not provider_session:
            return self.end_all(issuer, subject)
        return self._end(
            lambda each: (
                (each.issuer, each.provider_session) == (issuer, provider_session)
                and subject in {"", each.subject}
            )
        )

    def follow(self, connection: Transaction) -> None:
        """Hold the sessions of this view. For the watcher, when the store changed."""
        stored, revision = store.live(connection, self._clock()), revision_of(connection)
        with self._turn:
            ours, at = self._changed
            if revision >= ours or time.monotonic() - at > OWN_CHANGE_S:
                self.ring.replace(stored)

    def note_use(self) -> None:
        """Write down when sessions were seen here, and learn where else they were. For the watcher,
        now and then."""
        since, self._noted = self._noted, self._clock()
        seen = self.ring.seen_since(since)
        try:
            if seen:
                with self._database.writing() as connection:
                    store.note_seen(connection, seen)
            with self._database.reading() as connection:
                self.ring.learn(store.last_seen(connection, self._clock()))
        except BaseException:
            self._noted = since  # to be written the next time
            raise

    def _end(self, meant: Callable[[StoredSession], bool]) -> int:
        now = self._clock()
        with self._database.changing() as connection:
            ids = [each.id for each in store.live(connection, now) if meant(each)]
            store.end(connection, ids, now)
            revision = revision_of(connection) + 1
        with self._turn:
            self._changed = (revision, time.monotonic())
            self.ring.drop(ids)
        return len(ids)


def _same_person(each: StoredSession, issuer: str, subject: str) -> bool:
    return (each.issuer, each.subject) == (issuer, subject)
