"""What the readers of engines that speak the client's dialect share.

A stream reader looks at every event, and decodes of it the few members that tell how the answer
stands; msgspec passes over the rest of it. That is cheaper than searching the bytes for the words
that would matter, and it cannot be fooled by a text that holds them.

Clients see the name that they asked for. Where the engine's differs, it is put back.
"""

from collections.abc import Iterator

import msgspec

from inhouse.domain import Usage
from inhouse.errors import EngineError
from inhouse.upstream.dialects.sse import ENDS, EventSplitter, event, lone, split

EVENT_STREAM = b"text/event-stream"
JSON = b"application/json"
NOT_COUNTED = Usage()
REPORTED = "reported an error"
"""An engine's own words about its error may quote the prompt, so no log repeats them."""

OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Fault(msgspec.Struct, gc=False):
    """An error as engines report it."""

    message: str | None = None
    type: str | None = None
    code: int | str | None = None

    def __str__(self) -> str:
        return f"{REPORTED} of code {self.code}" if isinstance(self.code, int) else REPORTED


class Progress:
    """What is known of an answer. `served_model` is the name under which the engine answered."""

    __slots__ = (
        "_alias",
        "complete",
        "ending",
        "events",
        "fault",
        "finish_reason",
        "served_model",
        "usage",
    )

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.complete = False
        self.ending = b""
        self.fault: str | None = None
        self.usage = NOT_COUNTED
        self.finish_reason: str | None = None
        self.events = 0
        self.served_model: str | None = None


class EventReader(Progress):
    """Reads a stream of events; a dialect says in `_take` what each one means.

    Nearly always a block is one event, and nothing is pending: an engine sends each token as it
    comes. That one is read at once.
    """

    __slots__ = ("_between", "_splitter")
    content_type = EVENT_STREAM

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._splitter = EventSplitter()
        self._between = True  # nothing is pending

    def feed(self, data: bytes) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        if self._between and data.endswith(ENDS):
            if (
                data.find(b"\n") == len(data) - 2
                and data.startswith(b"data: ")
                and b"\r" not in data
            ):
                return self._heed(data, b"", data[6:-2])
            read = lone(data)
            if read is not None:
                return self._heed(data, *read)
        try:
            block = self._splitter.feed(data)
            self._between = self._splitter.between
        except EngineError as error:
            self.fault = str(error)
            return b""
        return b"".join(self._each(block))

    def finish(self) -> bytes:
        if not self.complete and self.fault is None:
            self.fault = (
                "broke off in the middle of an event"
                if self._splitter.pending.strip()
                else "ended its stream before its answer ended"
            )
        return b""

    def _each(self, block: bytes) -> Iterator[bytes]:
        for raw in split(block):
            read = lone(raw)
            yield self._heed(raw, *read) if read is not None else self._by_the_rules(raw)
            if self.complete or self.fault is not None:
                return

    def _by_the_rules(self, raw: bytes) -> bytes:
        try:
            it = event(raw)
        except EngineError as error:
            self.fault = str(error)
            return b""
        return raw if it.data is None else self._heed(raw, it.name, it.data)

    def _heed(self, raw: bytes, name: bytes, data: bytes) -> bytes:
        self.events += 1
        try:
            return self._take(raw, name, data)
        except EngineError as error:
            self.fault = str(error)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.fault = "sent an event that is not of its dialect"
        return b""

    def _take(self, raw: bytes, name: bytes, data: bytes) -> bytes:
        """What the client gets of one event. Raises EngineError where the answer is broken."""
        raise NotImplementedError


class WholeReader(Progress):
    """Reads an answer in one piece; a dialect says in `_judge` whether it is one.

    Keeps what it is fed: the caller bounds it. `ending` is the engine's body as it came, but
    for the model's name where that is not the alias, and what a dialect mends in `_released`.
    """

    __slots__ = ("_pieces",)
    content_type = JSON

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        return b""

    def finish(self) -> bytes:
        body = b"".join(self._pieces)
        try:
            self._judge(body)
            self.ending = self._released(body)
            self.complete = True
        except EngineError as error:
            self.fault = str(error)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.fault = _what_it_is(body)
        return b""

    def _judge(self, body: bytes) -> None:
        """Note usage, finish reason and served model; raise where it is no proper answer."""
        raise NotImplementedError

    def _released(self, body: bytes) -> bytes:
        """What the client gets of an answer that is one."""
        return renamed(body, self.served_model, self._alias)


def _what_it_is(body: bytes) -> str:
    if not body.strip():
        return "answered 200 with an empty body"
    try:
        OBJECT.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "answered 200 with something that is not a JSON object"
    return "answered 200 with a JSON object that is not an answer of its dialect"


def renamed(body: bytes, theirs: str | None, alias: str) -> bytes:
    """An object with its own `model` put back to the alias; other members stay as they came."""
    if theirs is None or theirs == alias:
        return body
    members = OBJECT.decode(body)
    members["model"] = msgspec.Raw(msgspec.json.encode(alias))
    return msgspec.json.encode(members)


def check_name(name: bytes, kind: str) -> None:
    """Clients go by an event's name or by the `type` in its data: both say the same."""
    if name and name != kind.encode():
        raise EngineError("sent an event whose name is not its type")


def event_of(name: bytes, data: bytes) -> bytes:
    """An event put together."""
    return b"%bdata: %b\n\n" % (b"event: %b\n" % name if name else b"", data)
