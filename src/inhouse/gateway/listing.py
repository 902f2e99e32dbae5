"""What the gateway answers itself: which models there are, in each dialect's form.

Only what the asking key may use is shown, and nothing of what is behind a name: neither engine,
address nor file.
"""

import msgspec

from inhouse.config.schema import Model
from inhouse.domain import Task
from inhouse.errors import Code, Refusal
from inhouse.gateway.authorize import find, visible
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.receive import receive_body
from inhouse.gateway.record import Entry
from inhouse.gateway.refuse import JSON, fields
from inhouse.gateway.routes import Listing, Route

OLLAMA_API_LEVEL = "0.13.0"
"""The release of Ollama whose API this gateway speaks; clients ask for it."""

_EPOCH = "1970-01-01T00:00:00Z"  # models have no date here that a client could use
_MODEL_PREFIX = b"/v1/models/"
MAX_SHOW_BYTES = 65_536


class _Show(msgspec.Struct):
    """The body of /api/show. `name` is what older clients call `model`."""

    model: str = ""
    name: str = ""


def greet(exchange: Exchange, date: bytes) -> None:
    """`GET /` and `HEAD /`: what Ollama's clients ask before anything else. Says no more."""
    head = fields(b"text/plain; charset=utf-8", exchange.request_id, date)
    exchange.respond(200, head, b"Inhouse is running")


async def answer(
    exchange: Exchange, entry: Entry, route: Route, models: dict[str, Model], date: bytes
) -> None:
    """Answer a listing for the entry's principal."""
    principal = entry.principal
    assert principal is not None  # listings come after authentication
    match route.does:
        case Listing.OPENAI_MODELS:
            body: object = {
                "object": "list",
                "data": [_openai(model) for model in visible(principal, models)],
            }
        case Listing.OPENAI_MODEL:
            name = exchange.head.path[len(_MODEL_PREFIX) :].decode("ascii")
            body = _openai(find(principal, name, models))
        case Listing.OLLAMA_TAGS:
            body = {"models": [_ollama(model) for model in visible(principal, models)]}
        case Listing.OLLAMA_PS:
            body = {
                "models": [
                    _ollama(model) | {"expires_at": _EPOCH, "size_vram": 0}
                    for model in visible(principal, models)
                ]
            }
        case Listing.OLLAMA_SHOW:
            body = _show(find(principal, await _shown(exchange, route), models))
        case _:
            body = {"version": OLLAMA_API_LEVEL}
    head = fields(JSON, exchange.request_id, date)
    exchange.respond(200, head, msgspec.json.encode(body))


async def _shown(exchange: Exchange, route: Route) -> str:
    body = await receive_body(exchange, route, MAX_SHOW_BYTES)
    try:
        show = msgspec.json.decode(body, type=_Show)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(Code.INVALID_JSON, 400, 'the body must be {"model": "NAME"}') from error
    if not (show.model or show.name):
        raise Refusal(Code.INVALID_FIELD, 400, "'model' is missing", param="model")
    return show.model or show.name


def _openai(model: Model) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": 0, "owned_by": "inhouse"}


def _details() -> dict[str, object]:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }


def _ollama(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": _EPOCH,
        "size": 0,
        "digest": "",
        "details": _details(),
    }


def _show(model: Model) -> dict[str, object]:
    capability = "embedding" if model.task is Task.EMBEDDING else "completion"
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(),
        "model_info": {},
        "capabilities": [capability],
        "modified_at": _EPOCH,
    }
