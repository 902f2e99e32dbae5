"""The words that all rooms share: plain frozen values, no behaviour beyond themselves.

Nothing here does I/O, reads a clock or imports a room.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

import msgspec

RequestId = NewType("RequestId", str)
"""`req_` and 26 digits of base 32, the time first; sent to the client as `x-request-id`, and the
first field of both records."""


class Dialect(StrEnum):
    """The API that a client speaks, and with it the shape of answers and of errors."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"


class Operation(StrEnum):
    """What a client asks a model to do. Each has one route per dialect that offers it."""

    CHAT = "chat"  # OpenAI /v1/chat/completions
    COMPLETION = "completion"  # OpenAI /v1/completions
    RESPONSE = "response"  # OpenAI /v1/responses
    EMBEDDING = "embedding"  # OpenAI /v1/embeddings
    MESSAGE = "message"  # Anthropic /v1/messages
    COUNT_TOKENS = "count-tokens"  # Anthropic /v1/messages/count_tokens
    OLLAMA_CHAT = "ollama-chat"  # Ollama /api/chat
    OLLAMA_GENERATE = "ollama-generate"  # Ollama /api/generate
    OLLAMA_EMBED = "ollama-embed"  # Ollama /api/embed
    OLLAMA_EMBEDDING = "ollama-embedding"  # Ollama /api/embeddings, its older form


class Task(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    EMBEDDING = "embedding"


class EngineKind(StrEnum):
    """The programs that run models. `EMBEDDED` is a llama.cpp server that Inhouse starts itself."""

    EMBEDDED = "embedded"
    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    OLLAMA = "ollama"
    OPENAI = "openai"  # any other server of the OpenAI API


class OutcomeKind(StrEnum):
    """How a request ended. Every audit record of a request is closed with exactly one of these."""

    ANSWERED = "answered"  # the whole answer went out
    DENIED = "denied"  # no credential, no right, or forbidden content
    REFUSED = "refused"  # malformed, over a limit, or no room
    FAILED = "failed"  # no engine answered; nothing of an answer went out
    TRUNCATED = "truncated"  # it had begun, and was broken off; the client was told so
    CANCELLED = "cancelled"  # the client left
    INTERRUPTED = "interrupted"  # the gateway stopped or died; written at its next start


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a credential allows at most, whoever owns it; None where it sets no bound. It gives
    nothing."""

    models: frozenset[str] | None = None
    dialects: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    permissions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, and by which credential. What they may do is asked of the directory."""

    id: str  # of the credential: "key:ab12cd34ef", "oidc:SUBJECT"
    name: str  # of the user, for people who read records
    user: str = ""  # "usr_..."; empty for a person who has not been seen before
    teams: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()  # that the token vouches for
    ceiling: Ceiling | None = None
