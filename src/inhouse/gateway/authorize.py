"""Authorize: principal, model, dialect, purpose; and which grant said so. What no grant allows is
denied."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from inhouse.config.schema import Model
from inhouse.domain import Dialect, Operation, Principal, Task
from inhouse.errors import Code, Refusal
from inhouse.gateway.http1 import Head
from inhouse.identity.bounds import PURPOSE
from inhouse.identity.policy import USE, Denied, Rights, decide
from inhouse.upstream.dialects.shapes import Ask

_EMBEDDINGS = frozenset({Operation.EMBEDDING, Operation.OLLAMA_EMBED, Operation.OLLAMA_EMBEDDING})
LATEST = ":latest"


class Directory(Protocol):
    """What knows who may do what: identity's Directory."""

    def rights(self, principal: Principal, now: float) -> Rights: ...


def purpose_of(head: Head, principal: Principal) -> str:
    """What the answer is for, as the client says it in `x-inhouse-purpose`; else the one purpose
    that the credential is for; else empty."""
    said = head.fields.get(b"x-inhouse-purpose")
    if said is not None:
        purpose = said.decode("latin-1")
        if not PURPOSE.fullmatch(purpose):
            raise Refusal(
                Code.INVALID_FIELD, 400, "x-inhouse-purpose has 1 to 64 of a-z, 0-9 and '-'",
                param="x-inhouse-purpose",
            )  # fmt: skip
        return purpose
    ceiling = principal.ceiling
    if ceiling is not None and ceiling.purposes is not None and len(ceiling.purposes) == 1:
        return next(iter(ceiling.purposes))
    return ""


@dataclass(slots=True)  # not frozen: one is made per request
class Asking:
    """Who asks, over which dialect, for which purpose; what they may do now."""

    principal: Principal
    rights: Rights
    dialect: str
    purpose: str

    def may(self, model: str) -> str | Denied:
        """The grant that allows this model, or why none does."""
        return decide(self.rights, USE, model, self.dialect, self.purpose, self.principal.ceiling)

    def sees(self, model: str) -> bool:
        """Whether it may be used over this dialect, for this purpose or, where none is said, for
        some purpose."""
        purpose = self.purpose or None
        return not isinstance(
            decide(self.rights, USE, model, self.dialect, purpose, self.principal.ceiling), Denied
        )

    def elsewhere(self, model: str) -> bool:
        """Whether it may be used over some dialect, for some purpose."""
        found = decide(self.rights, USE, model, ceiling=self.principal.ceiling)
        return not isinstance(found, Denied)


def visible(asking: Asking, models: Mapping[str, Model]) -> list[Model]:
    """The models that may be used, in the configuration's order."""
    return [model for name, model in models.items() if asking.sees(name)]


def is_tagged(name: str) -> bool:
    """Whether a name has a tag, as Ollama's have: `llama3.2:1b`."""
    return ":" in name.rpartition("/")[2]


def _untagged(name: str, models: Mapping[str, Model]) -> str:
    """The alias that Ollama's clients mean: they add `:latest` to a name without a tag."""
    bare = name.removesuffix(LATEST)
    return bare if name not in models and not is_tagged(bare) else name


def find(asking: Asking, name: str, models: Mapping[str, Model], *, tags: bool = False) -> Model:
    """The model of a name, with `tags` as Ollama reads names, that may be seen. Any other is
    answered like one that is not there, so that names cannot be guessed."""
    name = _untagged(name, models) if tags else name
    model = models.get(name)
    if model is not None and asking.sees(name):
        return model
    raise _not_there(asking, name, models)


def authorize(asking: Asking, ask: Ask, models: Mapping[str, Model]) -> tuple[Model, str]:
    """The model, and the id of the grant that allows it. From here on the request goes by the
    model's alias, in the log and everywhere; its answer, by the name that was asked for."""
    name = ask.model if ask.dialect is not Dialect.OLLAMA else _untagged(ask.model, models)
    model = models.get(name)
    grant = Denied.MODEL if model is None else asking.may(name)
    if model is None or isinstance(grant, Denied):
        if model is not None and asking.elsewhere(name):
            raise _not_here(asking, name)
        raise _not_there(asking, name, models)
    if ask.model != model.name:
        ask.asked_as, ask.model = ask.model, model.name
    if (model.task is Task.EMBEDDING) != (ask.operation in _EMBEDDINGS):
        wanted = "embeddings" if model.task is Task.EMBEDDING else "conversation"
        raise Refusal(
            Code.WRONG_TASK, 400, f"'{model.name}' is a model for {wanted}", param="model"
        )
    return model, grant


def _not_there(asking: Asking, name: str, models: Mapping[str, Model]) -> Refusal:
    names = [each.name for each in visible(asking, models)]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    there = ", ".join(names) or "none"
    return Refusal(
        Code.NO_SUCH_MODEL,
        404,
        f"there is no model '{name[:128]}' for this key; {hint}there is: {there}",
        param="model",
    )


def _not_here(asking: Asking, name: str) -> Refusal:
    """Of a model that this user may use, but not so."""
    purpose = f"for the purpose '{asking.purpose}'" if asking.purpose else "without a purpose"
    return Refusal(
        Code.NOT_ALLOWED,
        403,
        f"'{name}' may not be used over the API of {asking.dialect} {purpose}; a purpose is said "
        "in the header x-inhouse-purpose",
    )
