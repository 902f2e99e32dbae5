"""Real engines on real weights, small and single-threaded; each is ended by the test's end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from inhouse.config.schema import Engine
from inhouse.config.sources import builtin_directory
from inhouse.domain import EngineKind, Task
from inhouse.fleet.engine import EngineProcess

Begin = Callable[..., EngineProcess]


@pytest.fixture
def chat_model() -> Path:
    return builtin_directory() / "smollm2-135m.gguf"


@pytest.fixture
def embedding_model() -> Path:
    return builtin_directory() / "all-minilm-l6-v2.gguf"


@pytest.fixture
async def make_engine(tmp_path: Path) -> AsyncIterator[Begin]:
    """Makes an EngineProcess that is not started yet."""
    made: list[EngineProcess] = []

    def make(path: Path, task: Task = Task.CHAT, *, slots: int = 1) -> EngineProcess:
        engine = Engine(
            name="small@embedded",
            kind=EngineKind.EMBEDDED,
            model="small",
            path=path,
            concurrency=slots,
            context_tokens=512,
            threads=1,
        )
        log = tmp_path / "log" / "engine-small.log"
        made.append(EngineProcess(engine, task, log, sleep=lambda _: asyncio.sleep(0.01)))
        return made[-1]

    yield make
    for engine in made:
        await engine.stop(1.0)
