"""The values between the listener, the API and its handlers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from inhouse.audit.record import Record
from inhouse.config.schema import Config
from inhouse.identity.actor import Actor
from inhouse.upstream.pool import Pool


class Head(Protocol):
    """A request's head, as the listener read it. Names of fields are lower case."""

    @property
    def method(self) -> bytes: ...
    @property
    def path(self) -> bytes: ...
    @property
    def query(self) -> bytes: ...
    @property
    def fields(self) -> Mapping[bytes, bytes]: ...
    @property
    def length(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: the status, whole header lines beyond those that every answer has, JSON."""

    status: int
    fields: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    config: Config
    pool: Pool
    follow_keys: Callable[[], None]  # hold what the store has now; raises UsageError


@dataclass(frozen=True, slots=True)
class Call:
    """One request that may go ahead: who is asking, when, and how to leave a record."""

    services: Services
    actor: Actor
    request_id: str
    now: float  # seconds since the epoch
    record: Callable[[Record], None]  # from the handler's thread; durable on return
