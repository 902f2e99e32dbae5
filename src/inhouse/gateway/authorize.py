"""Authorize: principal, model, operation; and which rule said so. What no rule allows is denied."""

import difflib
from collections.abc import Mapping

from inhouse.config.schema import Model
from inhouse.domain import Operation, Principal, Task
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.shapes import Ask

_EMBEDDINGS = frozenset({Operation.EMBEDDING, Operation.OLLAMA_EMBED})


def allowed(principal: Principal, model: str) -> bool:
    """Whether the credential's ceiling lets this model through."""
    return principal.models is None or model in principal.models


def visible(principal: Principal, models: Mapping[str, Model]) -> list[Model]:
    """The models that this principal may use, in the configuration's order."""
    return [model for name, model in models.items() if allowed(principal, name)]


def find(principal: Principal, name: str, models: Mapping[str, Model]) -> Model:
    """The model of a name. One that the principal may not use is answered like one that is not
    there, so that names cannot be guessed."""
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
    """The model, and the name of the rule that allows it."""
    model = find(principal, ask.model, models)
    if (model.task is Task.EMBEDDING) != (ask.operation in _EMBEDDINGS):
        wanted = "embeddings" if model.task is Task.EMBEDDING else "conversation"
        raise Refusal(
            Code.WRONG_TASK, 400, f"'{model.name}' is a model for {wanted}", param="model"
        )
    if ask.max_tokens is not None and ask.max_tokens > model.max_output_tokens:
        raise Refusal(
            Code.LIMIT_EXCEEDED,
            400,
            f"{ask.max_tokens} output tokens were asked for; '{model.name}' gives at most "
            f"{model.max_output_tokens}",
            param="max_tokens",
        )
    return model, "key-models" if principal.models is not None else "key-any-model"
