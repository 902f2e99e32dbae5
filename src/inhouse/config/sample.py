"""The manual that is generated from the schema: the sample file, and the reference page."""

import dataclasses
import enum
import json
import typing
from typing import Any

from inhouse.config.schema import EngineSection, ModelSection, Settings
from inhouse.config.secrets import Secret

_MODELS = """
# The names that clients use, and what answers to them. Without this section the two models that
# come with Inhouse are served. One line is enough:
#
# [models]
# chat = "/srv/models/qwen2.5-7b-instruct-q4_k_m.gguf"     # a file, or a directory holding one
# large = "vllm://10.0.3.11:8000/meta-llama/Llama-3.1-70B-Instruct"
# small = "ollama://127.0.0.1:11434/llama3.2:3b"
# twice = ["vllm://10.0.3.11:8000/llama", "vllm://10.0.3.12:8000/llama"]   # several engines
#
# or all model files of a directory, each under its own name:
#
# models = "/srv/models"
#
# or in full:
#
# [models.NAME]"""

_ENGINES = """
# Engines by name, for what does not fit into one line; [models.NAME] engines = ["gpu1"].
#
# [engines.gpu1]"""


def sample() -> str:
    """A commented inhouse.toml with every key at its default. It loads as it is."""
    lines = [
        "# Inhouse: every key, with its default. A key that is left out keeps it.",
        '# A secret is a text, { env = "NAME" } or { file = "PATH" }.',
        "# INHOUSE_<SECTION>_<KEY> in the environment goes before this file.",
    ]
    for name, kind in _sections():
        if name in ("models", "engines"):
            lines += [_MODELS if name == "models" else _ENGINES]
            lines += [f"# {line}" if line else "#" for line in _keys(kind)]
        else:
            lines += ["", f"# {_purpose(kind)}", f"[{name}]", *_keys(kind)]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The tables of docs/configuration.md."""
    parts = []
    for name, kind in _sections():
        title = f"{name}.NAME" if name in ("models", "engines") else name
        rows = [
            f"| `{field.name}` | `{_literal(_default(field))}` | {_explained(field)} |"
            for field in dataclasses.fields(kind)
        ]
        head = ["| key | default | meaning |", "|---|---|---|"]
        parts.append("\n".join([f"## [{title}]", "", _purpose(kind), "", *head, *rows]))
    return "\n\n".join(parts) + "\n"


def _sections() -> list[tuple[str, type[Any]]]:
    hints = typing.get_type_hints(Settings)
    hints |= {"models": ModelSection, "engines": EngineSection}
    return list(hints.items())


def _keys(kind: type[Any]) -> list[str]:
    lines = []
    for field in dataclasses.fields(kind):
        lines += [f"# {_explained(field)}", f"{field.name} = {_literal(_default(field))}"]
    return lines


def _explained(field: "dataclasses.Field[Any]") -> str:
    note, least, most = (field.metadata[name] for name in ("note", "least", "most"))
    choices = field.metadata["choices"]
    if choices:
        return f"{note}: " + ", ".join(f"'{choice}'" for choice in choices)
    if least is None:
        return str(note)
    return f"{note} (at least {least})" if most is None else f"{note} ({least} to {most})"


def _default(field: "dataclasses.Field[Any]") -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    assert field.default_factory is not dataclasses.MISSING
    return field.default_factory()


def _literal(value: object) -> str:
    if isinstance(value, Secret):
        return '""'
    if isinstance(value, enum.Enum):
        value = value.value
    return json.dumps(value, ensure_ascii=False)


def _purpose(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").split())
