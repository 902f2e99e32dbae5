"""The top-level fields of OpenAI's and Anthropic's requests, and what is done with each.

Nothing is forwarded that is not named here, or by the operator in `gateway.extra_fields`. What is
left out runs a caller's code in the engine, has it fetch a caller's URL, or reaches into its
cache and its queue.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from inhouse.domain import Operation
from inhouse.errors import Code, Refusal

MOST_NAME_CHARS = 64
OFF = frozenset((b"null", b"false", b"[]", b"{}"))
"""How a field is sent that is not wanted."""


@dataclass(frozen=True, slots=True)
class FieldTable:
    """What is done with each field of an operation."""

    quiet: frozenset[str]  # forwarded: numbers, switches, names of the API's own
    spoken: frozenset[str]  # forwarded: may hold a text, so every string in it is looked at
    dropped: frozenset[str]  # accepted and not forwarded
    refused: Mapping[str, str]  # refused unless it is off, with the sentence that says why
    forwarded: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "forwarded", self.quiet | self.spoken)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAMPLING = _names(
    """
    temperature top_p top_k min_p typical_p top_n_sigma seed
    frequency_penalty presence_penalty repetition_penalty repeat_penalty repeat_last_n
    length_penalty min_tokens ignore_eos stop_token_ids include_stop_str_in_output
    skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens
    add_special_tokens allowed_token_ids logit_bias prompt_logprobs return_tokens_as_token_ids
    mirostat mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent
    xtc_probability xtc_threshold dry_multiplier dry_base dry_allowed_length dry_penalty_last_n
    """
)
"""The API's own, and those of vLLM and llama.cpp that only shape how tokens are drawn."""

_IDENTITY = _names("user safety_identifier metadata client_metadata prompt_cache_key service_tier")
"""Who asks, and with what claim, is for us to say; engines are told neither."""

_CACHE = frozenset(("prompt_cache_retention", "prompt_cache_options"))

_NO_STATE = "nothing is kept here from one request to the next; send the whole conversation"
_NO_TEMPLATE = "the template is the model's own"
_NO_CODE = "engines run no caller's grammar or code; use response_format with a JSON schema"
_NO_INTERNALS = "how an engine works inside is the operator's choice"
_NO_SEARCH = "engines have no access to the network"
_NO_MODERATION = "what is looked at, and by whom, is set by the operator"

_INTERNALS = {
    "chat_template": _NO_TEMPLATE,
    "documents": "send documents as messages",
    "grammar": _NO_CODE,
    "guided_grammar": _NO_CODE,
    "guided_regex": _NO_CODE,
    "structured_outputs": _NO_CODE,
    "logits_processors": _NO_CODE,
    "mm_processor_kwargs": _NO_INTERNALS,
    "media_io_kwargs": _NO_INTERNALS,
    "kv_transfer_params": _NO_INTERNALS,
    "vllm_xargs": _NO_INTERNALS,
    "priority": _NO_INTERNALS,
    "lora": _NO_INTERNALS,
    "id_slot": _NO_INTERNALS,
    "cache_prompt": _NO_INTERNALS,
    "prompt_embeds": "send the prompt as text or as tokens",
}

_CHAT = FieldTable(
    quiet=SAMPLING
    | _names(
        """
        model stream stream_options n max_tokens max_completion_tokens logprobs top_logprobs
        tool_choice function_call parallel_tool_calls modalities audio reasoning_effort verbosity
        include_reasoning reasoning_format chat_template_kwargs cache_salt
        add_generation_prompt continue_final_message echo
        """
    ),
    spoken=_names(
        """
        messages tools functions response_format prediction stop bad_words
        json_schema guided_json guided_choice
        """
    ),
    dropped=_IDENTITY | _CACHE | {"store"},
    refused=_INTERNALS
    | {
        "store": _NO_STATE,
        "web_search_options": _NO_SEARCH,
        "moderation": _NO_MODERATION,
    },
)

_COMPLETION = FieldTable(
    quiet=SAMPLING
    | _names("model stream stream_options n best_of max_tokens logprobs echo cache_salt"),
    spoken=_names(
        "prompt suffix stop bad_words response_format json_schema guided_json guided_choice"
    ),
    dropped=_IDENTITY | _CACHE,
    refused=_INTERNALS,
)

_RESPONSE = FieldTable(
    quiet=SAMPLING
    | _names(
        """
        model stream stream_options max_output_tokens max_tool_calls top_logprobs tool_choice
        parallel_tool_calls reasoning truncation include cache_salt
        """
    ),
    spoken=_names("input instructions tools text stop bad_words"),
    dropped=_IDENTITY | _CACHE | {"store", "background", "image"},
    refused=_INTERNALS
    | {
        "store": _NO_STATE,
        "background": _NO_STATE,
        "background_options": _NO_STATE,
        "previous_response_id": _NO_STATE,
        "conversation": _NO_STATE,
        "prompt": "prompts are not kept here; send 'input' and 'instructions'",
        "context_management": _NO_STATE,
        "access_programs": _NO_INTERNALS,
        "moderation": _NO_MODERATION,
    },
)

_EMBEDDING = FieldTable(
    quiet=_names(
        """
        model encoding_format dimensions truncate_prompt_tokens add_special_tokens normalize
        embd_normalize
        """
    ),
    spoken=frozenset(("input",)),
    dropped=_IDENTITY,
    refused={"priority": _NO_INTERNALS, "mm_processor_kwargs": _NO_INTERNALS},
)

_MESSAGE_DROPPED = _names(
    "metadata service_tier speed inference_geo user_profile_id context_management"
)
"""`context_management` says which old turns may be left out; here none is."""

_MESSAGE_REFUSED = {
    "container": "engines run no code; there are no containers",
    "mcp_servers": "engines have no access to the network; run the tools in the client",
    "compaction": _NO_STATE,
    "thread": _NO_STATE,
    "diagnostics": _NO_STATE,
    "fallbacks": "the operator decides which engine answers",
    "fallback_credit_token": "there is nothing to pay here",
    "billing_policy": "there is nothing to pay here",
    "workspace_id": "there are no workspaces here",
    "betas": "betas are named in the header anthropic-beta, and none is needed here",
}

_MESSAGE = FieldTable(
    quiet=_names(
        """
        model stream max_tokens temperature top_k top_p tool_choice thinking cache_control
        """
    ),
    spoken=_names("messages system tools stop_sequences output_config output_format"),
    dropped=_MESSAGE_DROPPED,
    refused=_MESSAGE_REFUSED,
)

_COUNT_TOKENS = FieldTable(
    quiet=_names("model tool_choice thinking cache_control"),
    spoken=_names("messages system tools output_config output_format"),
    dropped=_MESSAGE_DROPPED,
    refused=_MESSAGE_REFUSED,
)

TABLES: dict[Operation, FieldTable] = {
    Operation.CHAT: _CHAT,
    Operation.COMPLETION: _COMPLETION,
    Operation.RESPONSE: _RESPONSE,
    Operation.EMBEDDING: _EMBEDDING,
    Operation.MESSAGE: _MESSAGE,
    Operation.COUNT_TOKENS: _COUNT_TOKENS,
}


_SAME = (
    ("max_tokens", "max_output_tokens", "max_completion_tokens", "n_predict", "max_new_tokens"),
    ("stop", "stop_sequences"),
    ("messages", "input", "prompt"),
    ("system", "instructions"),
)
"""What one API calls otherwise than another."""


def admit(
    operation: Operation, fields: dict[str, msgspec.Raw], extra_fields: Collection[str]
) -> dict[str, msgspec.Raw]:
    """The fields that go on to the engine. Raises Refusal for the first that may not be here."""
    table = TABLES[operation]
    if fields.keys() <= table.forwarded:
        return fields
    return {name: raw for name, raw in fields.items() if _goes_on(name, raw, table, extra_fields)}


def _goes_on(name: str, raw: msgspec.Raw, table: FieldTable, extra_fields: Collection[str]) -> bool:
    if name in table.forwarded or name in extra_fields:
        return True
    if name in table.refused and bytes(raw) not in OFF:
        sentence = f"field '{name}' is not accepted: {table.refused[name]}"
        raise Refusal(Code.INVALID_FIELD, 400, sentence, param=name)
    if name not in table.dropped and name not in table.refused:
        raise _unknown(name, table)
    return False


def _unknown(name: str, table: FieldTable) -> Refusal:
    shown = name[:MOST_NAME_CHARS]
    sentence = f"unknown field {shown!r}"
    known = sorted(table.forwarded | table.dropped)
    meant = [other for names in _SAME if name in names for other in names if other in known]
    meant += difflib.get_close_matches(shown, known, 1, 0.7)
    if meant:
        sentence += f": did you mean '{meant[0]}'?"
    return Refusal(Code.UNKNOWN_FIELD, 400, sentence, param=shown)


def speaking(operation: Operation, name: str) -> bool:
    """Whether a forwarded field may hold a text: all but those known to hold none."""
    return name not in TABLES[operation].quiet
