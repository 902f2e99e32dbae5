"""What every dialect offers to the request path: one Ask in, one Reader out.

    body ──parse──► Ask ──render──► bytes for the engine
    engine's bytes ──Reader.feed──► bytes for the client ... ──Reader.ending──► the last bytes

A Reader releases whole events only, keeps the event that ends the answer back until the record
is durable, and knows whether the engine finished properly. Where the engine speaks the client's
dialect, what `feed` returns is what came in, byte for byte; where it does not, it is translated.
"""

from typing import Protocol

import msgspec

from inhouse.domain import Dialect, EngineKind, Operation, Usage
from inhouse.errors import Refusal

LLAMACPP_KINDS = frozenset({EngineKind.EMBEDDED, EngineKind.LLAMACPP})
"""The kinds that are llama.cpp's server, started by us or not."""


class Ask(msgspec.Struct):
    """A request, parsed once. `fields` are the raw values of the body's top level, by name,
    without those that are accepted and kept from engines (`user`, `metadata`).

    A name that came twice is here once, with its last value, and only that one is forwarded:
    what was authorized is what the engine sees.
    """

    dialect: Dialect
    operation: Operation
    model: str  # the alias, as the client wrote it
    stream: bool
    fields: dict[str, msgspec.Raw]
    texts: list[str]  # every text in it, in order: screened and fingerprinted
    last_text: str = ""  # the last thing the user said: fingerprinted on its own
    max_tokens: int | None = None  # the bound on the answer that the client asked for
    choices: int = 1  # how many answers the client asked for (n, best_of)
    wants_usage: bool = False  # OpenAI streams: the client asked for the usage event itself
    facts: dict[str, object] = {}  # of each its own: what a translator needs again
    asked_as: str | None = None  # where the client named the model otherwise than by its alias

    @property
    def answers_as(self) -> str:
        """The model's name in the answer: the one that the client asked for."""
        return self.asked_as or self.model


class Rendered(msgspec.Struct, frozen=True):
    """What is sent to an engine: a path, a body, and how to read what comes back."""

    path: str
    body: bytes
    reader: "Reader"


class Reader(Protocol):
    """Reads one engine's answer to one request. No I/O, no clock but the one handed in.

    `feed` takes what arrived and returns what the client may have now (whole events only).
    `finish` is called once when the engine's HTTP message ended properly, and returns what is
    left to release; it may raise Refusal, where the answer shows that the engine cannot give what
    was asked for. After either, `complete` says whether the answer ended as the dialect says
    an answer ends; then `ending` is the last event, held back for the caller to send once the
    record is durable. A `fault` is the engine's own error, or a breach of its dialect: the
    answer is broken from there on, and nothing more is released. It reads on after the engine's
    name: "answered 200 with an empty body".

    A whole (not streamed) answer is one event: `feed` returns b"" and `ending` is the body. A
    reader keeps what it is fed of one; the caller bounds it.
    """

    content_type: bytes
    complete: bool
    ending: bytes
    fault: str | None
    usage: Usage
    finish_reason: str | None
    events: int  # read so far, each about a token; what is known of an answer that did not end

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class ErrorShape(Protocol):
    """How a dialect says no."""

    def body(self, refusal: Refusal, request_id: str) -> bytes:
        """The JSON body of an error response."""
        ...

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        """The last event of a stream that broke: an error, never an end."""
        ...
