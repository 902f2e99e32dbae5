"""What is written. One struct per kind; the field `kind` says which.

Times are seconds since the epoch, UTC. A field at its default is left out of the line. No field
ever holds the text of a prompt or of an answer.
"""

import msgspec


class VerdictNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule of data loss prevention that matched, and where; never the value."""

    rule: str
    place: str = ""


class Started(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="started"):
    """A process began to write this log."""

    time: float
    process: str
    version: str
    pid: int = 0


class Stopped(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="stopped"):
    """A process ended as it should. One without it was killed."""

    time: float
    process: str
    pid: int = 0


class Intent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="intent"):
    """An engine is about to be asked. Durable before it is."""

    request_id: str
    time: float
    address: str
    principal_id: str
    principal_name: str
    dialect: str
    operation: str
    route: str
    model: str
    authorized_by: str
    bytes_in: int
    fingerprint: str  # of all texts of the prompt
    fingerprint_last: str  # of the last thing that the user said
    stream: bool = False
    max_tokens: int | None = None
    verdicts: list[VerdictNote] = []
    user_id: str = ""  # whose credential it was; empty for one who has not been seen before
    purpose: str = ""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="outcome"):
    """How a request with an intent ended. Durable before the answer's last byte goes out."""

    request_id: str
    time: float
    outcome: str
    status: int
    code: str | None = None
    engine: str | None = None
    engine_model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool = False  # the tokens: the answer did not end, and its events were counted
    bytes_out: int = 0
    duration_ms: float = 0.0
    first_byte_ms: float | None = None
    finish_reason: str | None = None
    verdicts: list[VerdictNote] = []


class Denial(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="denial"):
    """A request that ended before any engine was asked."""

    request_id: str
    time: float
    address: str
    route: str
    outcome: str
    status: int
    code: str | None = None
    principal_id: str | None = None
    principal_name: str | None = None
    dialect: str | None = None
    operation: str | None = None
    model: str | None = None
    bytes_in: int = 0
    duration_ms: float = 0.0
    verdicts: list[VerdictNote] = []
    fingerprint: str = ""  # as in an intent, where the prompt was read
    fingerprint_last: str = ""
    claimed_key: str | None = None  # the id in a key of the right form that was refused
    user_id: str = ""
    purpose: str = ""


class KeyChanged(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="key-changed"
):
    """A key was created, rotated or revoked; what it was before and is now, without secrets."""

    time: float
    action: str
    key_id: str
    owner: str
    actor: str
    before: dict[str, str] = {}
    after: dict[str, str] = {}


class Changed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="changed"):
    """Who may do what was changed, or reviewed: a user, a team, a group, a role, a grant, a request
    for one or a review; what it was before and is now."""

    time: float
    noun: str  # user, team, group, role, grant, request, review, session
    action: str  # "created", "revoked" ...; "revoke-failed" where a record was not followed
    id: str
    name: str  # for people
    actor: str
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    reason: str = ""


class Read(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="read"):
    """Somebody read the log, and what was looked for."""

    time: float
    actor: str
    what: str


class Repaired(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="repaired"):
    """The end of a segment was torn by a crash and cut off; the bytes are kept in `kept_as`."""

    time: float
    segment: str
    offset: int
    bytes_cut: int
    kept_as: str


class Gap(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="gap"):
    """A segment is given up at `offset`. Because its disk failed: what stands behind was never
    acknowledged. Or because it was `altered`: then `verify` says so for ever. `behind` is the most
    bytes that can stand behind the offset; None where that is not known."""

    time: float
    segment: str
    offset: int
    reason: str
    altered: bool = False
    behind: int | None = None


class Resumed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="resumed"):
    """The log takes records again. From `since` on it did not, for this reason, and that many
    records were refused; what they were for was refused too."""

    time: float
    since: float
    reason: str
    refused: int = 0


Record = (
    Started
    | Stopped
    | Intent
    | Outcome
    | Denial
    | KeyChanged
    | Changed
    | Read
    | Repaired
    | Gap
    | Resumed
)

MAX_TEXT = 256
_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def cut(text: str) -> str:
    """What a client wrote, no longer than a record should hold."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def encode(record: Record) -> bytes:
    """The JSON of a record, on one line."""
    return _ENCODER.encode(record)


def decode(raw: bytes | msgspec.Raw) -> Record:
    """The record in a line. Raises msgspec.DecodeError."""
    return _DECODER.decode(raw)
