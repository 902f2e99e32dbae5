"""The store and the audit log together: a change is in the log first, then in the store.

    change(actor) ──► one transaction, the only writer
                        ├─ record(...)   durable in the log on return; where that cannot be, nothing
                        │                is changed
                        ├─ statements of the store
                        └─ commit        where it fails, a record of that follows

So the log never says what is not so, and nothing changes that it does not say. Blocks on the disk
and on the database: from an event loop, in a thread.
"""

import contextlib
import difflib
import secrets
import string
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from inhouse.audit.log import append_once
from inhouse.audit.record import Changed, KeyChanged
from inhouse.config.owner import require_owner
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable, InhouseError, NotThere, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.policy import Pair, pairs_of
from inhouse.store.database import Database, Transaction, database_at
from inhouse.store.requests import StoredRequest, all_requests
from inhouse.store.state import State, read_state
from inhouse.telemetry import Clock

MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 1000
FAILED = {
    "created": "create-failed",
    "removed": "remove-failed",
    "deactivated": "deactivate-failed",
    "reactivated": "reactivate-failed",
    "revoked": "revoke-failed",
    "rotated": "rotate-failed",
    "imported": "import-failed",
    "changed": "change-failed",
    "added": "add-failed",
    "taken away": "take-away-failed",
    "given": "give-failed",
    "break-glass": "break-glass-failed",
    "asked": "ask-failed",
    "approved": "approve-failed",
    "denied": "deny-failed",
    "opened": "open-failed",
    "assigned": "assign-failed",
    "decided": "decide-failed",
    "closed": "close-failed",
    "offboarded": "offboard-failed",
    "ended": "end-failed",
}
_ALPHABET = string.digits + string.ascii_letters


class Ledger:
    """The state of one configuration, to be looked at and changed. `made_store`: the store was not
    there before."""

    def __init__(
        self,
        config: Config,
        *,
        make: bool = True,
        clock: Clock = time.time,
        database: Database | None = None,
        what: str = "users",
    ) -> None:
        """Opens the store, made where it is not there and `make` says so, unless it is handed in
        open. Raises UsageError, ConfigurationError."""
        require_owner(config.data)
        self.config = config
        self.clock = clock
        self.separate: tuple[Pair, ...] = pairs_of(config.settings.access.separate)
        self.made_store = False
        if database is not None:
            self.database = database
            return
        self.database = database_at(config.database)
        if not make and not self.database.exists():
            where = self.database.name if self.database.shared else config.data
            raise UsageError(f"there are no {what} in {where}")
        self.made_store = self.database.open(make=make)

    def state(self) -> State:
        """Everything, as it is now."""
        with self.database.reading() as connection:
            return read_state(connection)

    def requests(self) -> list[StoredRequest]:
        with self.database.reading() as connection:
            return all_requests(connection)

    @contextlib.contextmanager
    def change(self, actor: Actor) -> "Iterator[Change]":
        """A transaction in the store. Raises AuditUnavailable where the log cannot be written."""
        recorded: list[Changed | KeyChanged] = []
        try:
            with self.database.changing() as connection:
                yield Change(self.config, actor, connection, self.clock(), recorded)
        except BaseException as error:  # whatever it is: the log must not say what is not so
            if recorded:
                self._take_back(recorded, error)
            raise

    def _take_back(self, changes: list[Changed | KeyChanged], cause: BaseException) -> None:
        """All in one batch: a review that ends two thousand grants may fail, too."""
        now, after = self.clock(), {"failed": str(cause) or type(cause).__name__}
        failed = [
            msgspec.structs.replace(change, time=now, action=FAILED[change.action], after=after)
            for change in changes
        ]
        try:
            append_once(self.config, *failed)
        except AuditUnavailable as error:
            change, more = changes[0], len(changes) - 1
            what = "key" if isinstance(change, KeyChanged) else change.noun
            which = change.key_id if isinstance(change, KeyChanged) else change.id
            others = f" and {more} more" if more else ""
            raise UsageError(
                f"{cause}; the audit log says '{change.action}' of the {what} {which}{others}, "
                f"which is not so, and it cannot be told: {error}"
            ) from cause


@dataclass(frozen=True)
class Change:
    """A change that is being made: the state as it is, and where to write."""

    config: Config
    actor: Actor
    connection: Transaction
    now: float
    recorded: list[Changed | KeyChanged] = field(repr=False)

    @cached_property
    def state(self) -> State:
        """As it was before this change."""
        return read_state(self.connection)

    def record(self, *changes: Changed | KeyChanged) -> None:
        """Durable on return. Raises AuditUnavailable, and then nothing is changed."""
        self.recorded.extend(changes)  # first: whatever comes between, a record of it follows
        try:
            append_once(self.config, *changes)
        except InhouseError:
            for change in changes:
                self.recorded.remove(change)  # it is not there
            raise

    def changed(
        self,
        noun: str,
        action: str,
        subject: tuple[str, str],
        *,
        before: dict[str, str] | None = None,
        after: dict[str, str] | None = None,
        reason: str = "",
    ) -> Changed:
        """A record of this change; `subject` is an id and a name."""
        return Changed(
            self.now, noun, action, *subject, self.actor.id, before or {}, after or {}, reason
        )


def new_id(prefix: str) -> str:
    """'usr_' and sixteen characters of chance."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(16))


def named(text: str, what: str) -> str:
    """A name that may be kept and shown. Raises UsageError."""
    text = text.strip()
    if not text or len(text) > MAX_NAME_CHARS or not text.isprintable():
        raise UsageError(f"{what} has 1 to {MAX_NAME_CHARS} printable characters")
    return text


def because(reason: str, *, needed: bool = False) -> str:
    """A reason that may be kept and shown. Raises UsageError."""
    reason = reason.strip()
    if needed and not reason:
        raise UsageError("a reason is needed")
    if len(reason) > MAX_REASON_CHARS or not (reason.isprintable() or not reason):
        raise UsageError(f"a reason has at most {MAX_REASON_CHARS} printable characters")
    return reason


def not_there(what: str, name: str, names: Iterable[str], see: str) -> NotThere:
    """What is near a name that is not there."""
    near = difflib.get_close_matches(name, list(names), n=3)
    hint = f"near: {', '.join(near)}" if near else f"see: {see}"
    return NotThere(f"there is no {what} '{name[:MAX_NAME_CHARS]}'; {hint}")


def iso(at: float | None) -> str:
    """A time for people and records; 'never' for none."""
    return "never" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def listed(names: tuple[str, ...] | None) -> str:
    return "any" if names is None else ", ".join(names)
