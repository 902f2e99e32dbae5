"""What Ollama's requests consist of: every known field and option, and what is done with it.

Nothing is forwarded that is not named here. Go reads JSON names without regard to case, so an
unnamed `Model` or `Content` would be obeyed by an Ollama engine: unknown names are refused at
every depth where a name means something.
"""

from typing import Any, Literal

import msgspec

from inhouse.domain import Operation

_SHARED = frozenset({"model", "stream", "format", "options", "keep_alive", "think"})
_ODDS = frozenset({"logprobs", "top_logprobs", "truncate", "num_predict", "template"})
FIELDS: dict[Operation, frozenset[str]] = {
    Operation.OLLAMA_CHAT: _SHARED | _ODDS | {"messages", "tools"},
    Operation.OLLAMA_GENERATE: _SHARED
    | _ODDS
    | {"prompt", "suffix", "images", "system", "raw", "context"},
    Operation.OLLAMA_EMBED: frozenset(
        {"model", "input", "options", "keep_alive", "truncate", "dimensions"}
    ),
    Operation.OLLAMA_EMBEDDING: frozenset({"model", "prompt", "options", "keep_alive"}),
}

_MEANINGLESS = frozenset({"metadata", "shift", "tool_choice"})
DROPPED: dict[Operation, frozenset[str]] = {
    Operation.OLLAMA_CHAT: _MEANINGLESS,
    Operation.OLLAMA_GENERATE: _MEANINGLESS,
    Operation.OLLAMA_EMBED: _MEANINGLESS | {"prompt"},
    Operation.OLLAMA_EMBEDDING: _MEANINGLESS,
}
"""Accepted, because clients in use send it, and not looked at again: Ollama passes it over too."""

REFUSED = {
    "template": "the template is the model's own; leave the field away",
    "context": "conversations are not kept in tokens here; send them as messages to /api/chat",
}
"""Fields that Ollama knows and that no client may set here, with the sentence that says why."""

KEPT_BACK = frozenset({"keep_alive", "num_predict"})
"""Read here and not forwarded. What stays loaded is the operator's choice; a `num_predict` beside
`options` means the one in it."""

OPTIONS_KEPT_BACK = frozenset(
    {
        "embedding_only",
        "f16_kv",
        "logits_all",
        "low_vram",
        "main_gpu",
        "num_batch",
        "num_ctx",
        "num_gpu",
        "num_gqa",
        "num_thread",
        "numa",
        "rope_frequency_base",
        "rope_frequency_scale",
        "use_mlock",
        "use_mmap",
        "vocab_only",
    }
)
"""Accepted, not forwarded: how a model is loaded onto the hardware is the operator's matter, and
another context size makes Ollama load it anew for everyone. Clients send these with every request,
whatever is set in them."""


class Options(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """`options`: how the answer is sampled and bounded. None where the client did not say."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    num_predict: int | None = None
    num_keep: int | None = None
    stop: list[str] | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    penalize_newline: bool | None = None
    tfs_z: float | None = None
    typical_p: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None


INTEGER_OPTIONS = frozenset(
    each.name for each in msgspec.structs.fields(Options) if each.type == (int | None)
)


class Function(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What an assistant called, with its arguments as an object."""

    name: str
    arguments: dict[str, Any] | None = None
    index: int | None = None
    description: str | None = None


class Call(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One entry of `tool_calls`. Some clients write its `index` here, as OpenAI has it."""

    function: Function
    id: str | None = None
    type: str | None = None
    index: int | None = None


class Message(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One entry of `messages`. `images` are base64. `name` is what older clients call a tool's
    name; `id` is a client's own, and goes nowhere."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    name: str | None = None
    id: Any = None


TYPES: dict[str, Any] = {
    "model": str,
    "stream": bool,
    "messages": list[Message],
    "tools": list[dict[str, Any]],
    "format": Literal["", "json"] | dict[str, Any],
    "options": Options,
    "keep_alive": float | str,
    "num_predict": int,
    "think": bool | Literal["low", "medium", "high", "max"],
    "logprobs": bool,
    "top_logprobs": int,
    "prompt": str,
    "suffix": str,
    "system": str,
    "images": list[str],
    "raw": bool,
    "input": str | list[str],
    "truncate": bool,
    "dimensions": int,
}
"""The type of each field, as its value is decoded and checked."""
