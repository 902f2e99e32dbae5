"""Anthropic's requests for engines that speak OpenAI chat alone: Ollama, and other servers; and
for llama.cpp, where its own API would pass over a part of one.

Text, documents of text, search results, inline images, tools, their calls and their results are
translated. Earlier thinking is
left away, as it is of no use to another model. What has no counterpart is refused by name.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from inhouse.domain import EngineKind
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.fields import OFF
from inhouse.upstream.dialects.shapes import LLAMACPP_KINDS, Ask, Reader, Rendered
from inhouse.upstream.dialects.translate_anthropic_answer import MessageWriter
from inhouse.upstream.dialects.translate_reader import StreamReader, WholeReader


class Source(msgspec.Struct):
    type: str
    media_type: str | None = None
    data: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct):
    """One content block; which members are set depends on its type."""

    type: str
    text: str | None = None
    source: Source | str | None = None  # of a search result: a label
    title: str | None = None
    context: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None


class Message(msgspec.Struct):
    role: str
    content: str | list[Block]


class Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Kind(msgspec.Struct):
    """An object of which only the type matters."""

    type: str


class Format(msgspec.Struct):
    type: str
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct):
    format: Format | None = None
    effort: str | None = None


class Asked(msgspec.Struct):
    """The fields that are translated."""

    messages: list[Message] = []
    system: str | list[Block] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Kind | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None  # its name in the beta


PASSED_OVER = frozenset({"cache_control", "max_tokens", "model", "stream", "top_k"})
"""Fields that are answered elsewhere, or that change nothing in what the answer is."""


def render(
    ask: Ask,
    kind: EngineKind,
    engine_model: str,
    max_tokens: int | None,
    now: Callable[[], float],  # Anthropic's answers carry no time
) -> Rendered:
    """The request as OpenAI chat. Raises Refusal for what cannot be said there."""
    asked = _asked(ask)
    body: dict[str, Any] = {"model": engine_model, "stream": ask.stream}
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    body["messages"] = [*_system(asked.system), *_messages(asked.messages)]
    if kind in LLAMACPP_KINDS and "top_k" in ask.fields:
        body["top_k"] = ask.fields["top_k"]
    body |= _sampling(asked) | _tools(asked) | _format(asked)
    body |= _thinking(asked.thinking, kind)
    writer = MessageWriter(ask.model)
    reader: Reader = (StreamReader if ask.stream else WholeReader)(ask.model, writer)
    return Rendered("/v1/chat/completions", msgspec.json.encode(body), reader)


def _asked(ask: Ask) -> Asked:
    for name, raw in ask.fields.items():
        known = name in PASSED_OVER or name in Asked.__struct_fields__
        if not known and bytes(raw) not in OFF:
            raise not_spoken(name, "this field")
    try:
        return msgspec.json.decode(msgspec.json.encode(ask.fields), type=Asked)
    except msgspec.ValidationError as error:
        raise Refusal(Code.INVALID_FIELD, 400, f"the body is malformed: {error}") from error


def not_spoken(param: str, what: str) -> Refusal:
    sentence = f"{param}: this model's engine does not understand {what}"
    return Refusal(Code.NOT_SPOKEN, 400, sentence, param=param)


def _system(system: str | list[Block] | None) -> list[dict[str, Any]]:
    text = _text_of(system or "", "system")
    return [{"role": "system", "content": text}] if text else []


def _text_of(content: str | list[Block], where: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_text(block, where) for block in content)


def _text(block: Block, where: str) -> str:
    if block.type != "text":
        raise not_spoken(where, f"a block of type '{block.type}' here")
    return block.text or ""


def _messages(messages: list[Message]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if isinstance(message.content, str):
            said.append({"role": message.role, "content": message.content})
        elif message.role == "assistant":
            said.append(_assistant(message.content, where))
        else:
            said.extend(_user(message.role, message.content, where))
    return said


def _assistant(blocks: list[Block], where: str) -> dict[str, Any]:
    blocks = [block for block in blocks if block.type not in {"thinking", "redacted_thinking"}]
    texts = [block for block in blocks if block.type != "tool_use"]
    said: dict[str, Any] = {"role": "assistant", "content": _text_of(texts, where)}
    if calls := [_call(block) for block in blocks if block.type == "tool_use"]:
        said["tool_calls"] = calls
    return said


def _call(block: Block) -> dict[str, Any]:
    arguments = msgspec.json.encode(block.input if block.input is not None else {}).decode()
    function = {"name": block.name or "", "arguments": arguments}
    return {"id": block.id or "", "type": "function", "function": function}


def _user(role: str, blocks: list[Block], where: str) -> list[dict[str, Any]]:
    """Tool results first, each a message of its own as OpenAI has it; then what the user said.

    A tool message of OpenAI holds text alone: images in a result follow in the user's message.
    """
    said: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "tool_result":
            inner = block.content if isinstance(block.content, list) else []
            text = block.content if isinstance(block.content, str) else ""
            given = [part for one in inner for part in _parts(one, where)]
            text += "\n".join(part["text"] for part in given if "text" in part)
            said.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": text})
            parts += [part for part in given if "text" not in part]
        else:
            parts += _parts(block, where)
    if parts:
        said.append({"role": role, "content": _plain(parts)})
    return said


def _plain(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """One text alone is a string: engines without eyes take nothing else."""
    return parts[0]["text"] if len(parts) == 1 and "text" in parts[0] else parts


def _parts(block: Block, where: str) -> list[dict[str, Any]]:
    if block.type == "image":
        return [_image(block.source, where)]
    if block.type == "document":
        return _document(block, where)
    if block.type == "search_result":
        source = block.source if isinstance(block.source, str) else None
        return _headed((block.title, source), _inner(block.content or "", where))
    return [{"type": "text", "text": _text(block, where)}]


def _image(source: Source | str | None, where: str) -> dict[str, Any]:
    if not isinstance(source, Source) or source.type != "base64":
        raise not_spoken(where, "an image that is not given as base64")
    url = f"data:{source.media_type or 'image/png'};base64,{source.data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, where: str) -> list[dict[str, Any]]:
    """A document of text, under its title; engines have no eyes for a PDF."""
    source = block.source
    if not isinstance(source, Source) or source.type not in {"text", "content"}:
        raise not_spoken(
            where, "a document that is not text; send its text, with a source of type 'text'"
        )
    content = source.data if source.type == "text" else source.content
    return _headed((block.title, block.context), _inner(content or "", where))


def _inner(content: str | list[Block], where: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for block in content for part in _parts(block, where)]


def _headed(head: tuple[str | None, ...], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A title and what else stands above a text, as a text of their own."""
    said = "\n".join(filter(None, head))
    return [{"type": "text", "text": said}, *parts] if said else parts


def _sampling(asked: Asked) -> dict[str, Any]:
    given = {
        "stop": asked.stop_sequences,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
    }
    return {name: value for name, value in given.items() if value is not None}


def _tools(asked: Asked) -> dict[str, Any]:
    if not asked.tools:
        return {}
    return {"tools": [_tool(tool) for tool in asked.tools]} | _tool_choice(asked.tool_choice)


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.type not in {None, "custom"}:
        raise not_spoken("tools", f"a tool of type '{tool.type}'")
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema or {}}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    said: dict[str, Any] = {}
    if choice.disable_parallel_tool_use:
        said["parallel_tool_calls"] = False
    if choice.type == "tool":
        return said | {"tool_choice": {"type": "function", "function": {"name": choice.name}}}
    plain = {"auto": "auto", "any": "required", "none": "none"}
    if choice.type not in plain:
        raise not_spoken("tool_choice", f"a choice of type '{choice.type}'")
    return said | {"tool_choice": plain[choice.type]}


def _format(asked: Asked) -> dict[str, Any]:
    wanted = asked.output_config.format if asked.output_config is not None else None
    wanted = wanted or asked.output_format
    if wanted is None:
        return {}
    if wanted.type != "json_schema":
        raise not_spoken("output_config", f"a format of type '{wanted.type}'")
    schema = {"name": "answer", "schema": wanted.schema or {}, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _thinking(thinking: Kind | None, kind: EngineKind) -> dict[str, Any]:
    """Who can be told not to think is told; a model that thinks does so unasked, everywhere."""
    if thinking is None or thinking.type != "disabled":
        return {}
    if kind is EngineKind.OLLAMA:
        return {"reasoning_effort": "none"}
    if kind in LLAMACPP_KINDS:
        return {"chat_template_kwargs": {"enable_thinking": False}}
    return {}
