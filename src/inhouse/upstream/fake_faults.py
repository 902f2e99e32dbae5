"""What a fake engine does wrong: the knobs, and what they make of its answers."""

import re

import msgspec

from inhouse.errors import UsageError
from inhouse.upstream.fake_answers import WORD, Answer, Asked, Speech


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it answers, and what goes wrong. Bytes are counted in the body, from 0.

    `cut_at` closes the connection there (with `reset`, by a reset); `stall_at` goes silent there;
    `corrupt_at` says NUL in place of that byte;
    `error_event_at` puts an error event in place of that piece and then ends as if nothing were;
    `invented_done` leaves out whatever says why an answer ended, and ends all the same.
    `spare_probes` answers a gateway's probes properly, so that the engine counts as healthy.
    """

    tokens: int = 64
    rate: float = 0.0  # tokens per second and answer; 0: all at once
    first_token_s: float = 0.0
    answer: str = ""  # the words to say, instead of `tokens` times "hello"
    status: int = 200
    cut_at: int = -1
    reset: bool = False
    stall_at: int = -1
    corrupt_at: int = -1
    garbage: bool = False
    empty: bool = False
    wrong_model: bool = False
    invented_done: bool = False
    error_event_at: int = -1
    spare_probes: bool = True

    def check(self) -> None:
        """Raises UsageError where the knobs do not go together."""
        if self.reset and self.cut_at < 0:
            raise UsageError("--reset says how a cut is made; say where with --cut-at BYTE")
        if self.cut_at >= 0 and self.stall_at >= 0:
            raise UsageError("--cut-at and --stall-at exclude each other")
        if sum((self.garbage, self.empty, self.status != 200)) > 1:
            raise UsageError("--garbage, --empty and --status exclude each other")
        if self.tokens < 0 or self.rate < 0 or self.first_token_s < 0:
            raise UsageError("--tokens, --rate and --first-token-ms must not be negative")


def faults_in(body: bytes) -> Faults:
    """The faults of a JSON object. Raises UsageError, which names the fields where one is none."""
    try:
        faults = msgspec.json.decode(body, type=Faults)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        unknown = re.search(r"unknown field `(.*?)`", str(error))
        if unknown is None:
            raise UsageError(str(error)) from error
        known = ", ".join(Faults.__struct_fields__)
        raise UsageError(f"there is no field '{unknown[1]}'; there are {known}") from error
    faults.check()
    return faults


def speech_of(asked: Asked, faults: Faults, prompt_tokens: int) -> Speech:
    words = [f" {word}" for word in faults.answer.split(" ")] if faults.answer else []
    if words:
        words[0] = words[0][1:]
    words = words or [WORD] * faults.tokens
    bound = asked.bound
    cut_short = bound is not None and bound < len(words)
    return Speech(
        model="another-model" if faults.wrong_model else asked.model,
        words=words[:bound] if cut_short else words,
        cut_short=cut_short,
        prompt_tokens=prompt_tokens,
    )


def with_faults(answer: Answer, faults: Faults) -> Answer:
    pieces = list(answer.pieces)
    if faults.error_event_at >= 0 and pieces:
        at = min(faults.error_event_at, len(pieces) - 1)
        error = b'{"error":{"message":"the engine failed","type":"internal","code":500}}'
        lines = answer.content_type == b"application/x-ndjson"
        pieces[at:] = [error + b"\n" if lines else b"data: " + error + b"\n\n"]
    ending = answer.ending
    if faults.invented_done and pieces:
        pieces = pieces[: max(1, len(pieces) // 2)]
        ending = ending.replace(b'"done_reason":"stop",', b"")
    changed = Answer(answer.content_type, pieces, ending, answer.tokens)
    return _corrupted(changed, faults.corrupt_at)


def _corrupted(answer: Answer, at: int) -> Answer:
    if at < 0:
        return answer
    pieces = [*answer.pieces, answer.ending]
    for number, piece in enumerate(pieces):
        if at < len(piece):
            pieces[number] = piece[:at] + b"\0" + piece[at + 1 :]
            break
        at -= len(piece)
    return Answer(answer.content_type, pieces[:-1], pieces[-1], answer.tokens)
