"""Authorize: principal, model, operation; and which rule said so. What no rule allows is denied."""

import difflib
from collections.abc import Mapping

from inhouse.config.schema import Model
from inhouse.domain import Dialect, Operation, Principal, Task
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.shapes import Ask

_EMBEDDINGS = frozenset({Operation.EMBEDDING, Operation.OLLAMA_EMBED, Operation.OLLAMA_EMBEDDING})
LATEST = ":latest"


def allowed(principal: Principal, model: str) -> bool:
    """Whether the credential's ceiling lets this model through."""
    return principal.models is None or model in principal.models


def visible(principal: Principal, models: Mapping[str, Model]) -> list[Model]:
    """The models that this principal may use, in the configuration's order."""
    return [model for name, model in models.items() if allowed(principal, name)]


def is_tagged(name: str) -> bool:
    """Whether a name has a tag, as Ollama's have: `llama3.2:1b`."""
    return ":" in name.rpartition("/")[2]


def _untagged(name: str, models: Mapping[str, Model]) -> str:
    """The alias that Ollama's clients mean: they add `:latest` to a name without a tag."""
    bare = name.removesuffix(LATEST)
    return bare if name not in models and not is_tagged(bare) else name


def find(
    principal: Principal, name: str, models: Mapping[str, Model], *, tags: bool = False
) -> Model:
    """The model of a name, with `tags` as Ollama reads names. One that the principal may not use
    is answered like one that is not there, so that names cannot be guessed."""
    name = _untagged(name, models) if tags else name
    model = models.get(name)
    if model is not None and allowed(principal, name):
        return model
    names = [each.name for each in visible(principal, models)]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    there = ", ".join(names) or "none"
    raise Refusal(
        Code.NO_SUCH_MODEL,
        404,
        f"there is no model '{name[:128]}' for this key; {hint}there is: {there}",
        param="model",
    )


def authorize(principal: Principal, ask: Ask, models: Mapping[str, Model]) -> tuple[Model, str]:
    """The model, and the name of the rule that allows it. From here on the request goes by the
    model's alias, in the log and everywhere; its answer, by the name that was asked for."""
    model = find(principal, ask.model, models, tags=ask.dialect is Dialect.OLLAMA)
    if ask.model != model.name:
        ask.asked_as, ask.model = ask.model, model.name
    if (model.task is Task.EMBEDDING) != (ask.operation in _EMBEDDINGS):
        wanted = "embeddings" if model.task is Task.EMBEDDING else "conversation"
        raise Refusal(
            Code.WRONG_TASK, 400, f"'{model.name}' is a model for {wanted}", param="model"
        )
    return model, "key-models" if principal.models is not None else "key-any-model"
