"""OpenAI's dialect, for engines that speak it: rendered, and its errors.

Parsing is in openai_parse.py, the reading of answers in openai_read.py.
"""

import msgspec

from inhouse.domain import Operation
from inhouse.errors import Refusal
from inhouse.upstream.dialects.body import NULL
from inhouse.upstream.dialects.openai_parse import BOUNDS, parse
from inhouse.upstream.dialects.openai_read import reader
from inhouse.upstream.dialects.shapes import Ask, Rendered

__all__ = ["ERRORS", "PATHS", "OpenAIErrors", "parse", "render"]

PATHS = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.COMPLETION: "/v1/completions",
    Operation.RESPONSE: "/v1/responses",
    Operation.EMBEDDING: "/v1/embeddings",
}

MOST_DIGITS = 20  # a bound with more is above any other

_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_TRUE = msgspec.Raw(b"true")
_FALSE = msgspec.Raw(b"false")
_STREAM_OPTIONS = msgspec.Raw(b'{"include_usage":true}')


def render(ask: Ask, engine_model: str, max_tokens: int | None) -> Rendered:
    """The request for an engine: the client's values as they came, under the engine's name.

    `max_tokens` bounds the answer where the client set no bound, or a higher one. A stream is
    always asked for its usage. A response is never to be stored: vLLM would, unless told not to.
    """
    members = {**ask.fields, "model": msgspec.Raw(msgspec.json.encode(engine_model))}
    bounds = BOUNDS[ask.operation]
    if bounds and max_tokens is not None:
        members |= _bounds(ask, bounds, max_tokens)
    if ask.operation is Operation.RESPONSE:
        members["store"] = _FALSE
    elif ask.stream and not ask.wants_usage:
        members["stream_options"] = _with_usage(ask.fields.get("stream_options"))
    return Rendered(PATHS[ask.operation], msgspec.json.encode(members), reader(ask))


def _bounds(ask: Ask, names: tuple[str, ...], most: int) -> dict[str, msgspec.Raw]:
    """The fields that bound an answer, where they are not as the client sent them."""
    bound = msgspec.Raw(b"%d" % most)
    if ask.max_tokens is None:
        return {names[0]: bound}
    return {name: bound for name in names if name in ask.fields and _above(ask.fields[name], most)}


def _above(raw: msgspec.Raw, most: int) -> bool:
    return raw != NULL and (len(raw) > MOST_DIGITS or int(bytes(raw)) > most)


def _with_usage(options: msgspec.Raw | None) -> msgspec.Raw:
    given = _OPTIONS.decode(options) if options is not None else None
    if not given:
        return _STREAM_OPTIONS
    return msgspec.Raw(msgspec.json.encode({**given, "include_usage": _TRUE}))


_TYPES = {
    403: "permission_error",
    429: "rate_limit_error",
}


def _type(status: int) -> str:
    """OpenAI itself says `invalid_request_error` for a wrong key, too, and for an unknown model."""
    return "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")


class OpenAIErrors:
    """OpenAI's shape of errors, with the request's id as a further member."""

    def body(self, refusal: Refusal, request_id: str) -> bytes:
        return msgspec.json.encode(
            {
                "error": {
                    "message": refusal.sentence,
                    "type": _type(refusal.status),
                    "param": refusal.param,
                    "code": refusal.code.value,
                    "request_id": request_id,
                }
            }
        )

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        return b"data: %b\n\n" % self.body(refusal, request_id)


class ResponseErrors(OpenAIErrors):
    """As above; a stream of the Responses API has a form of its own for its last event."""

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        """OpenAI's event; `error` is in it besides, at which its client raises."""
        error = msgspec.json.decode(self.body(refusal, request_id), type=dict[str, msgspec.Raw])
        said = {
            "type": "error",
            "code": refusal.code.value,
            "message": refusal.sentence,
            "param": refusal.param,
        }
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(said | error)


ERRORS = OpenAIErrors()
RESPONSE_ERRORS = ResponseErrors()
