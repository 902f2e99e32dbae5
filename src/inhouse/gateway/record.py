"""Record: the request's entry in the audit log, opened first and closed exactly once.

    opened ──intent──► promised ──close──► closed      two records: Intent, Outcome
       └──────────────close──────────────► closed      one record: Denial

`intent` and `close` return when the record is on the disk. Nothing reaches an engine before the
first, and the last byte of an answer goes out after the second.
"""

import asyncio
import os

from inhouse.audit.log import AuditLog
from inhouse.audit.record import Denial, Intent, Outcome, VerdictNote, cut
from inhouse.domain import OutcomeKind, Principal, RequestId, Usage
from inhouse.errors import Code
from inhouse.telemetry import Clock
from inhouse.upstream.dialects.shapes import Ask, Reader
from inhouse.upstream.pool import Target

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_DIGITS = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))
_TIME_SHIFTS = range(45, -1, -5)
_CHANCE_DIGITS = 16
_CHANCE_IDS = 256


class _RequestIds:
    """48 bits of milliseconds and 80 of chance in base 32, so that ids sort by time. The time is
    written once for all ids of a millisecond, and chance is fetched for many at once."""

    def __init__(self) -> None:
        self._ms = -1
        self._time = ""
        self._chance: list[str] = []

    def new(self, now: float) -> RequestId:
        ms = int(now * 1000)
        if ms != self._ms:
            self._ms = ms
            digits = [_ALPHABET[ms << 2 >> shift & 31] for shift in _TIME_SHIFTS]
            self._time = "req_" + "".join(digits)
        if not self._chance:
            taken = os.urandom(_CHANCE_DIGITS * _CHANCE_IDS).translate(_DIGITS).decode()
            starts = range(0, len(taken), _CHANCE_DIGITS)
            self._chance = [taken[start : start + _CHANCE_DIGITS] for start in starts]
        return RequestId(self._time + self._chance.pop())


new_request_id = _RequestIds().new


class Entry:
    """One request in the log, from its first byte to its end.

    What is not known yet stands at its default in the class: a request sets few of them twice.
    """

    route = ""
    principal: Principal | None = None
    claimed_key: str | None = None
    fingerprints = "", ""  # of the whole prompt, and of what the user said last
    ask: Ask | None = None
    bytes_in = 0
    rule = ""  # the id of the grant that allows it
    purpose = ""
    engine: str | None = None
    engine_model: str | None = None
    reader: Reader | None = None
    first_byte_ms: float | None = None
    took_ms = 0.0  # from its first byte to its outcome
    closed = False
    _intent: "asyncio.Future[None] | None" = None
    _end: "asyncio.Future[None] | None" = None

    def __init__(self, audit: AuditLog, clock: Clock, address: str) -> None:
        """Raises AuditUnavailable where the log is known not to take records now."""
        audit.accept()
        self._log = audit
        self._clock = clock
        self.began = clock()
        self.request_id = new_request_id(self.began)
        self.address = address
        self.verdicts: list[VerdictNote] = []
        self.verdicts_out: list[VerdictNote] = []

    async def intent(self) -> None:
        """What is about to be asked of a model, and on whose right. Durable on return."""
        ask, principal = self.ask, self.principal
        assert ask is not None  # set by receive
        assert principal is not None  # set by authenticate
        self._intent = self._log.append(
            Intent(
                request_id=self.request_id,
                time=self.began,
                address=self.address,
                principal_id=principal.id,
                principal_name=principal.name,
                dialect=ask.dialect,
                operation=ask.operation,
                route=self.route,
                model=cut(ask.model),
                stream=ask.stream,
                bytes_in=self.bytes_in,
                fingerprint=self.fingerprints[0],
                fingerprint_last=self.fingerprints[1],
                verdicts=self.verdicts,
                authorized_by=self.rule,
                max_tokens=ask.max_tokens,
                user_id=principal.user,
                purpose=self.purpose,
            )
        )
        await self._intent

    def answering(self, target: Target, reader: Reader) -> None:
        """This engine's answer has begun."""
        self.engine = target.name
        self.engine_model = target.model
        self.reader = reader
        self.first_byte_ms = self._ms_since(self._clock())

    async def close(
        self,
        outcome: OutcomeKind,
        status: int,
        *,
        code: Code | None = None,
        bytes_out: int = 0,
    ) -> None:
        """How it ended. Durable on return; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        record = (
            self._outcome(outcome, status, code, bytes_out)
            if self._promised
            else self._denial(outcome, status, code)
        )
        self._end = self._log.append(record)
        await self._end

    def close_soon(self, outcome: OutcomeKind, bytes_out: int) -> None:
        """How it ended, for a client that left: nobody waits, the log sees to it."""
        if self.closed and not _failed(self._end):
            return
        self.closed = True
        self._log.keep(
            self._outcome(outcome, 0, None, bytes_out)
            if self._promised
            else self._denial(outcome, 0, None)
        )

    def unrecorded(self, bytes_out: int) -> None:
        """The log failed, and the client was told so. Where it holds an intent, this is how that
        ended, as soon as it takes records again; what it refused before that, it counts."""
        self.closed = True
        if self._promised:
            code = Code.AUDIT_UNAVAILABLE
            self._log.keep(self._outcome(OutcomeKind.FAILED, 503, code, bytes_out))

    @property
    def _promised(self) -> bool:
        """Whether the log holds an intent, or will."""
        return self._intent is not None and not _failed(self._intent)

    @property
    def tokens_made(self) -> int | None:
        """Tokens of an answer that did not end, about; None where it had not begun."""
        if self.reader is None:
            return None
        return max(self.reader.events, self.reader.usage.completion_tokens or 0)

    def _ms_since(self, now: float) -> float:
        return int((now - self.began) * 1_000_000) / 1000

    def _outcome(
        self,
        outcome: OutcomeKind,
        status: int,
        code: Code | None,
        bytes_out: int,
    ) -> Outcome:
        reader = self.reader
        now = self._clock()
        self.took_ms = self._ms_since(now)
        usage = reader.usage if reader is not None else Usage()
        estimated = reader is not None and not reader.complete
        return Outcome(
            request_id=self.request_id,
            time=now,
            outcome=outcome,
            status=status,
            code=code,
            engine=self.engine,
            engine_model=self.engine_model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=self.tokens_made if estimated else usage.completion_tokens,
            estimated=estimated,
            bytes_out=bytes_out,
            duration_ms=self.took_ms,
            first_byte_ms=self.first_byte_ms,
            finish_reason=reader.finish_reason if reader is not None else None,
            verdicts=self.verdicts_out,
        )

    def _denial(self, outcome: OutcomeKind, status: int, code: Code | None) -> Denial:
        ask, principal = self.ask, self.principal
        return Denial(
            request_id=self.request_id,
            time=self.began,
            address=self.address,
            route=self.route,
            outcome=outcome,
            status=status,
            code=code,
            principal_id=principal.id if principal else None,
            principal_name=principal.name if principal else None,
            dialect=ask.dialect if ask else None,
            operation=ask.operation if ask else None,
            model=cut(ask.model) if ask else None,
            bytes_in=self.bytes_in,
            verdicts=self.verdicts,
            duration_ms=self._ms_since(self._clock()),
            fingerprint=self.fingerprints[0],
            fingerprint_last=self.fingerprints[1],
            claimed_key=self.claimed_key,
            user_id=principal.user if principal else "",
            purpose=self.purpose,
        )


def _failed(written: "asyncio.Future[None] | None") -> bool:
    if written is None or not written.done() or written.cancelled():
        return False
    return written.exception() is not None
