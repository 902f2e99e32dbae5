"""What the gateway answers itself: which models there are, in each dialect's form.

Only what the asking key may use is shown, and nothing of what is behind a name: neither engine,
address nor file.
"""

from urllib.parse import unquote_to_bytes

import msgspec

from inhouse.config.schema import Model
from inhouse.domain import Dialect, Task
from inhouse.errors import Code, Refusal
from inhouse.gateway.authorize import LATEST, Asking, find, is_tagged, visible
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.receive import pass_over, receive_body
from inhouse.gateway.refuse import JSON, fields
from inhouse.gateway.routes import Listing, Route
from inhouse.gateway.since import since, stamp

OLLAMA_API_LEVEL = "0.13.0"
"""The release of Ollama whose API this gateway speaks; clients ask for it."""

_NEVER = "2318-01-01T00:00:00Z"  # what stays loaded, as Ollama puts it
_CAPABILITIES = {Task.CHAT: ["completion", "tools"], Task.EMBEDDING: ["embedding"]}
_MODEL_PREFIX = b"/v1/models/"
MAX_SHOW_BYTES = 65_536


class _Show(msgspec.Struct):
    """The body of /api/show. `name` is what older clients call `model`."""

    model: str = ""
    name: str = ""


async def greet(exchange: Exchange, date: bytes) -> None:
    """`GET /` and `HEAD /`: what Ollama's clients ask before anything else. Says no more."""
    await pass_over(exchange)
    head = fields(b"text/plain; charset=utf-8", exchange.request_id, date)
    exchange.respond(200, head, b"Inhouse is running")


def dialect_of(exchange: Exchange, route: Route) -> Dialect:
    """Whose client asks for a list."""
    openais = route.dialect is Dialect.OPENAI
    return Dialect.ANTHROPIC if openais and _is_anthropics(exchange) else route.dialect


async def answer(
    exchange: Exchange, asking: Asking, route: Route, models: dict[str, Model], date: bytes
) -> None:
    """Answer a listing with what may be used."""
    if route.does is not Listing.OLLAMA_SHOW:
        await pass_over(exchange)
    match route.does:
        case Listing.OPENAI_MODELS:
            seen = visible(asking, models)
            body: object = _anthropics(seen) if _is_anthropics(exchange) else _openais(seen)
        case Listing.OPENAI_MODEL:
            model = find(asking, _named(exchange.head.path), models)
            body = _anthropic(model) if _is_anthropics(exchange) else _openai(model)
        case Listing.OLLAMA_TAGS:
            body = {"models": [_ollama(model, models) for model in visible(asking, models)]}
        case Listing.OLLAMA_PS:
            body = {
                "models": [
                    _ollama(model, models) | {"expires_at": _NEVER, "size_vram": 0}
                    for model in visible(asking, models)
                ]
            }
        case Listing.OLLAMA_SHOW:
            body = _show(find(asking, await _shown(exchange, route), models, tags=True))
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


def _named(path: bytes) -> str:
    """The name in a path. Clients encode what is no letter, a slash among it; the result is looked
    up in the configuration and nowhere else."""
    return unquote_to_bytes(path[len(_MODEL_PREFIX) :]).decode("utf-8", "replace")


def _is_anthropics(exchange: Exchange) -> bool:
    """Both APIs list models at one path; Anthropic's clients say which version of theirs."""
    return b"anthropic-version" in exchange.head.fields


def _openais(models: list[Model]) -> dict[str, object]:
    return {"object": "list", "data": [_openai(model) for model in models]}


def _openai(model: Model) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": since(model), "owned_by": "inhouse"}


def _anthropics(models: list[Model]) -> dict[str, object]:
    return {
        "data": [_anthropic(model) for model in models],
        "has_more": False,
        "first_id": models[0].name if models else None,
        "last_id": models[-1].name if models else None,
    }


def _anthropic(model: Model) -> dict[str, object]:
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name,
        "created_at": stamp(since(model)),
    }


def _details() -> dict[str, object]:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }


def _ollama_name(name: str, models: dict[str, Model]) -> str:
    """A name as Ollama lists it, with its tag: clients add `:latest`, and look for it here."""
    tagged = name + LATEST
    return name if is_tagged(name) or tagged in models else tagged


def _ollama(model: Model, models: dict[str, Model]) -> dict[str, object]:
    name = _ollama_name(model.name, models)
    return {
        "name": name,
        "model": name,
        "modified_at": stamp(since(model)),
        "size": 0,
        "digest": "",
        "details": _details(),
    }


def _show(model: Model) -> dict[str, object]:
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(),
        "model_info": {},
        "capabilities": _CAPABILITIES[model.task],
        "modified_at": stamp(since(model)),
    }
