"""The models, and the engines behind them, as /readyz has them."""

import msgspec

from inhouse.console.call import Call
from inhouse.domain import EngineKind, Task
from inhouse.upstream.health import State
from inhouse.upstream.pool import Target


class Model(msgspec.Struct, frozen=True):
    """A name that clients use. It answers where one of its engines is up."""

    name: str
    task: Task
    answering: bool
    engines: int
    engines_up: int


class ModelList(msgspec.Struct, frozen=True):
    """Every model of the configuration."""

    data: list[Model]


class Engine(msgspec.Struct, frozen=True):
    """An engine behind a model: what it does now, and why it is not up."""

    name: str
    model: str  # the name that clients use
    kind: EngineKind
    state: State
    reason: str
    outstanding: int  # requests that it has now
    concurrency: int  # requests that it serves at once


class EngineList(msgspec.Struct, frozen=True):
    """Every engine of every model."""

    data: list[Engine]


def listed(call: Call) -> ModelList:
    pool = call.services.pool
    found = []
    for name, targets in pool.targets.items():
        up = sum(target.health.up for target in targets)
        found.append(Model(name, pool.models[name].task, up > 0, len(targets), up))
    return ModelList(found)


def engines(call: Call) -> EngineList:
    pool = call.services.pool
    return EngineList([_engine(name, each) for name in pool.targets for each in pool.of(name)])


def _engine(model: str, target: Target) -> Engine:
    return Engine(
        name=target.name,
        model=model,
        kind=target.kind,
        state=target.health.state,
        reason=target.health.reason,
        outstanding=target.outstanding,
        concurrency=target.engine.concurrency,
    )
