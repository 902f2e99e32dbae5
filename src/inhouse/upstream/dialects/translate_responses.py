"""OpenAI Responses for engines that have them not, or not whole: all but vLLM.

Text, inline images, function tools, their calls and their outputs, and JSON formats are
translated. What lives on a server of OpenAI's (stored conversations, built-in tools, background
work) is refused by name.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from inhouse.domain import EngineKind
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.fields import OFF, SAMPLING
from inhouse.upstream.dialects.shapes import LLAMACPP_KINDS, Ask, Reader, Rendered
from inhouse.upstream.dialects.translate_anthropic import not_spoken
from inhouse.upstream.dialects.translate_reader import StreamReader, WholeReader
from inhouse.upstream.dialects.translate_responses_answer import ResponseWriter


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None


class Item(msgspec.Struct):
    """One entry of `input`; which members are set depends on its type."""

    type: str = "message"
    role: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None


class Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct):
    type: str
    name: str | None = None


class Format(msgspec.Struct):
    type: str
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Text(msgspec.Struct):
    format: Format | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None


class Asked(msgspec.Struct):
    """The fields that are translated."""

    input: str | list[Item] = ""
    instructions: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: Reasoning | None = None
    stop: str | list[str] | None = None


PASSED_OVER = frozenset(
    {
        "cache_salt",
        "include",
        "max_output_tokens",
        "model",
        "stream",
        "stream_options",
        "truncation",
    }
)
"""Fields that are answered elsewhere, or that change nothing in what the answer is."""


def render(
    ask: Ask,
    kind: EngineKind,
    engine_model: str,
    max_tokens: int | None,
    now: Callable[[], float],
) -> Rendered:
    """The request as OpenAI chat. Raises Refusal for what cannot be said there."""
    asked = _asked(ask, kind)
    body: dict[str, Any] = {"model": engine_model, "stream": ask.stream}
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    body["messages"] = _messages(asked)
    body |= _drawn(ask, kind) | _sampling(asked)
    body |= _tools(asked) | _format(asked.text) | _reasoning(asked, kind)
    writer = ResponseWriter(ask.model, _echoed(ask), now)
    reader: Reader = (StreamReader if ask.stream else WholeReader)(ask.model, writer)
    return Rendered("/v1/chat/completions", msgspec.json.encode(body), reader)


def _asked(ask: Ask, kind: EngineKind) -> Asked:
    drawn = _drawn(ask, kind)
    for name, raw in ask.fields.items():
        known = name in PASSED_OVER or name in Asked.__struct_fields__ or name in drawn
        if not known and bytes(raw) not in OFF:
            raise not_spoken(name, "this field")
    try:
        return msgspec.json.decode(msgspec.json.encode(ask.fields), type=Asked)
    except msgspec.ValidationError as error:
        raise Refusal(Code.INVALID_FIELD, 400, f"the body is malformed: {error}") from error


def _drawn(ask: Ask, kind: EngineKind) -> dict[str, msgspec.Raw]:
    """How tokens are drawn: llama.cpp has the same names for that in its chat."""
    if kind not in LLAMACPP_KINDS:
        return {}
    return {name: raw for name, raw in ask.fields.items() if name in SAMPLING}


def _echoed(ask: Ask) -> dict[str, msgspec.Raw]:
    """What a response repeats of its request, as OpenAI's does."""
    repeated = ("instructions", "max_output_tokens", "metadata", "temperature", "top_p", "text")
    more = ("tools", "tool_choice", "parallel_tool_calls", "reasoning", "truncation")
    return {name: ask.fields[name] for name in (*repeated, *more) if name in ask.fields}


def _messages(asked: Asked) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    if asked.instructions:
        said.append({"role": "system", "content": asked.instructions})
    if isinstance(asked.input, str):
        return [*said, {"role": "user", "content": asked.input}]
    for place, item in enumerate(asked.input):
        _add(said, item, f"input[{place}]")
    return said


def _add(said: list[dict[str, Any]], item: Item, where: str) -> None:
    if item.type == "message":
        said.append({"role": _role(item), "content": _content(item.content or "", where)})
    elif item.type == "function_call":
        _add_call(said, item)
    elif item.type == "function_call_output":
        text = _output(item.output or "", where)
        said.append({"role": "tool", "tool_call_id": item.call_id, "content": text})
    elif item.type != "reasoning":  # earlier thinking is of no use to another model
        raise not_spoken(where, f"an item of type '{item.type}'")


def _role(item: Item) -> str:
    return "system" if item.role == "developer" else item.role or "user"


def _add_call(said: list[dict[str, Any]], item: Item) -> None:
    """Calls made together are one message of the assistant's."""
    function = {"name": item.name or "", "arguments": item.arguments or "{}"}
    call = {"id": item.call_id, "type": "function", "function": function}
    if said and said[-1]["role"] == "assistant":
        said[-1].setdefault("tool_calls", []).append(call)
    else:
        said.append({"role": "assistant", "content": "", "tool_calls": [call]})


def _content(content: str | list[Part], where: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts = [_part(part, where) for part in content]
    if all("text" in part for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Part, where: str) -> dict[str, Any]:
    if part.type in {"input_text", "output_text", "text"}:
        return {"type": "text", "text": part.text or ""}
    if part.type == "refusal":
        return {"type": "text", "text": part.refusal or ""}
    if part.type == "input_image" and (part.image_url or "").startswith("data:"):
        return {"type": "image_url", "image_url": {"url": part.image_url}}
    if part.type == "input_image":
        raise not_spoken(where, "an image that is not given as a data: URL")
    raise not_spoken(where, f"content of type '{part.type}'")


def _output(output: str | list[Part], where: str) -> str:
    if isinstance(output, str):
        return output
    if any(part.type == "input_image" for part in output):
        raise not_spoken(where, "an image in the output of a function")
    return "\n".join(_part(part, where)["text"] for part in output)


def _sampling(asked: Asked) -> dict[str, Any]:
    given = {"temperature": asked.temperature, "top_p": asked.top_p, "stop": asked.stop}
    return {name: value for name, value in given.items() if value is not None}


def _tools(asked: Asked) -> dict[str, Any]:
    if not asked.tools:
        return {}
    said: dict[str, Any] = {"tools": [_tool(tool) for tool in asked.tools]}
    if asked.parallel_tool_calls is not None:
        said["parallel_tool_calls"] = asked.parallel_tool_calls
    if isinstance(asked.tool_choice, str):
        said["tool_choice"] = asked.tool_choice
    elif asked.tool_choice is not None:
        said["tool_choice"] = _named(asked.tool_choice)
    return said


def _named(choice: NamedTool) -> dict[str, Any]:
    if choice.type != "function":
        raise not_spoken("tool_choice", f"a choice of type '{choice.type}'")
    return {"type": "function", "function": {"name": choice.name}}


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.type != "function":
        raise not_spoken("tools", f"a tool of type '{tool.type}'")
    given = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    function = {name: value for name, value in given.items() if value is not None}
    return {"type": "function", "function": function}


def _format(text: Text | None) -> dict[str, Any]:
    wanted = text.format if text is not None else None
    if wanted is None or wanted.type == "text":
        return {}
    if wanted.type == "json_object":
        return {"response_format": {"type": "json_object"}}
    if wanted.type != "json_schema":
        raise not_spoken("text", f"a format of type '{wanted.type}'")
    given = {"name": wanted.name or "answer", "schema": wanted.schema, "strict": wanted.strict}
    schema = {name: value for name, value in given.items() if value is not None}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _reasoning(asked: Asked, kind: EngineKind) -> dict[str, Any]:
    """How hard to think: Ollama has a field for it, llama.cpp hands it to the model's template."""
    effort = asked.reasoning.effort if asked.reasoning is not None else None
    if effort and kind is EngineKind.OLLAMA:
        return {"reasoning_effort": effort}
    if effort and kind in LLAMACPP_KINDS:
        said = {"enable_thinking": effort != "none", "reasoning_effort": effort}
        return {"chat_template_kwargs": said}
    return {}
