"""Every path that the gateway serves, what it needs, matched on the raw bytes of the request.

A path that is not here does not exist. Management verbs of Ollama (pull, push, create, copy,
delete, blobs) are absent on purpose: a client asks models, it does not manage them.
"""

import enum
from dataclasses import dataclass

from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal


class Listing(enum.Enum):
    """Questions that the gateway answers itself, from its configuration."""

    OPENAI_MODELS = "openai-models"
    OPENAI_MODEL = "openai-model"
    OLLAMA_TAGS = "ollama-tags"
    OLLAMA_SHOW = "ollama-show"
    OLLAMA_PS = "ollama-ps"
    OLLAMA_VERSION = "ollama-version"
    GREETING = "greeting"


class Needs(enum.Enum):
    """What a request must have. Whoever has less is refused; docs/access.md has it by role."""

    NOTHING = "nothing"
    CREDENTIAL = "a credential"  # what is shown is what it may use
    USE = "models:use"  # for the model, over the dialect, for the purpose


@dataclass(frozen=True, slots=True)
class Route:
    """What a path is: the dialect spoken there, what it does, and what that needs."""

    path: str
    dialect: Dialect
    does: Operation | Listing
    methods: frozenset[bytes]
    needs: Needs


_POST = frozenset({b"POST"})
_GET = frozenset({b"GET", b"HEAD"})
_MODEL_PREFIX = b"/v1/models/"

ROUTES: dict[bytes, Route] = {
    route.path.encode(): route
    for route in (
        Route("/v1/chat/completions", Dialect.OPENAI, Operation.CHAT, _POST, Needs.USE),
        Route("/v1/completions", Dialect.OPENAI, Operation.COMPLETION, _POST, Needs.USE),
        Route("/v1/responses", Dialect.OPENAI, Operation.RESPONSE, _POST, Needs.USE),
        Route("/v1/embeddings", Dialect.OPENAI, Operation.EMBEDDING, _POST, Needs.USE),
        Route("/v1/models", Dialect.OPENAI, Listing.OPENAI_MODELS, _GET, Needs.CREDENTIAL),
        Route("/v1/messages", Dialect.ANTHROPIC, Operation.MESSAGE, _POST, Needs.USE),
        Route(
            "/v1/messages/count_tokens", Dialect.ANTHROPIC, Operation.COUNT_TOKENS, _POST, Needs.USE
        ),
        Route("/api/chat", Dialect.OLLAMA, Operation.OLLAMA_CHAT, _POST, Needs.USE),
        Route("/api/generate", Dialect.OLLAMA, Operation.OLLAMA_GENERATE, _POST, Needs.USE),
        Route("/api/embed", Dialect.OLLAMA, Operation.OLLAMA_EMBED, _POST, Needs.USE),
        Route("/api/embeddings", Dialect.OLLAMA, Operation.OLLAMA_EMBEDDING, _POST, Needs.USE),
        Route("/api/tags", Dialect.OLLAMA, Listing.OLLAMA_TAGS, _GET, Needs.CREDENTIAL),
        Route("/api/show", Dialect.OLLAMA, Listing.OLLAMA_SHOW, _POST, Needs.CREDENTIAL),
        Route("/api/ps", Dialect.OLLAMA, Listing.OLLAMA_PS, _GET, Needs.CREDENTIAL),
        Route("/api/version", Dialect.OLLAMA, Listing.OLLAMA_VERSION, _GET, Needs.CREDENTIAL),
        Route("/", Dialect.OLLAMA, Listing.GREETING, _GET, Needs.NOTHING),
    )
}
ALLOWED = b"GET, HEAD, POST"
"""The methods that any path takes, as `Allow` lists them."""

_ONE_MODEL = Route(
    "/v1/models/{model}", Dialect.OPENAI, Listing.OPENAI_MODEL, _GET, Needs.CREDENTIAL
)
EVERY = (*ROUTES.values(), _ONE_MODEL)


def find(method: bytes, path: bytes) -> Route:
    """The route of a raw path, or the refusal in the dialect that the path looks like."""
    route = ROUTES.get(path)
    if route is None and path.startswith(_MODEL_PREFIX) and len(path) > len(_MODEL_PREFIX):
        route = _ONE_MODEL
    if route is None:
        raise _not_there(path)
    if method not in route.methods:
        allowed = " or ".join(sorted(name.decode() for name in route.methods))
        raise Refusal(
            Code.METHOD_NOT_ALLOWED, 405, f"{route.path} takes {allowed}, not {method.decode()}"
        )
    return route


_PREFIXES = (b"/v1/v1", b"/api/v1", b"/openai/v1", b"/v1", b"/api", b"/openai")
_CLIENTS = {
    Dialect.OPENAI: "OpenAI's clients is http://THIS-HOST/v1",
    Dialect.ANTHROPIC: "Anthropic's clients is http://THIS-HOST",
    Dialect.OLLAMA: "Ollama's clients is http://THIS-HOST",
}


def _not_there(path: bytes) -> Refusal:
    """A path is most often wrong for its base URL: one that has a part too many, or too few."""
    sentence = f"there is nothing at {path.decode('ascii')}"
    route = _meant(path)
    if route is not None:
        base = _CLIENTS[route.dialect]
        sentence += f"; did you mean {route.path}? The base URL for {base}"
    return Refusal(Code.NO_SUCH_ROUTE, 404, sentence)


def _meant(path: bytes) -> Route | None:
    path = path.rstrip(b"/")
    rests = [path.removeprefix(prefix) for prefix in _PREFIXES if path.startswith(prefix)]
    candidates = [start + rest for rest in (path, *rests) for start in (b"", b"/v1", b"/api")]
    return next((ROUTES[each] for each in candidates if each in ROUTES), None)


def operation_at(path: bytes) -> Operation | None:
    """What is asked of a model at a path, if anything."""
    route = ROUTES.get(path)
    return route.does if route is not None and isinstance(route.does, Operation) else None


def allowed(path: bytes) -> bytes:
    """The methods that a path takes, as `Allow` lists them."""
    route = ROUTES.get(path) or _ONE_MODEL
    return b", ".join(sorted(route.methods))


def dialect_of(path: bytes) -> Dialect:
    """The dialect in which an unknown path's refusal is most likely understood."""
    if path.startswith(b"/api/"):
        return Dialect.OLLAMA
    return Dialect.ANTHROPIC if path.startswith(b"/v1/messages") else Dialect.OPENAI
