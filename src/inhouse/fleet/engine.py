"""The embedded engine, seen from its parent: started, watched, restarted, stopped.

    start ──loaded──► running ──ended by itself──► pause 0.5 s, 1 s, ... 30 s ──► start ...
      └──not loaded──► EngineError, one sentence

The engine is a process of its own, so that its crash is not ours. Each start has an API key of
its own, which nobody but the parent knows. An engine that ran for a minute is well again: its
next crash pauses for 0.5 s; one that keeps crashing is restarted ever more seldom, and for ever.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from inhouse.config.schema import Engine
from inhouse.config.secrets import Secret
from inhouse.domain import Task
from inhouse.errors import EngineError
from inhouse.fleet.child import Child
from inhouse.fleet.diagnosis import how, why
from inhouse.fleet.enginelog import EngineLog
from inhouse.fleet.llamacpp import Spec

log = logging.getLogger("inhouse.fleet")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
WELL_AFTER_S = 60.0

Down = Callable[[str], None]
"""Takes the reason: the engine is gone, and its address with it."""
Up = Callable[[str], None]
"""Takes the URL: the engine is back, at another address and with another key."""


def pause_s(crashes: int) -> float:
    """How long to wait before the restart after so many crashes in a row, one or more."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(crashes - 1, 16))


def random_key() -> Secret:
    return Secret(secrets.token_urlsafe(32))


class EngineProcess:
    """One llama.cpp server on one model file. `start`, then `watch`, and `stop` in any case."""

    def __init__(
        self,
        engine: Engine,
        task: Task,
        log_path: Path,
        *,
        withheld: frozenset[str] = frozenset(),
        new_key: Callable[[], Secret] = random_key,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._task = task
        self._log = EngineLog(log_path)
        self._withheld = withheld  # variables that hold secrets, and are not the engine's to know
        self._new_key = new_key
        self._sleep = sleep
        self._child: Child | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopped = False
        self._timeout_s = 0.0
        self.api_key = Secret("")  # of the last start

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def start(self, timeout_s: float) -> str:
        """Start it and wait until the model is loaded; its URL. Raises EngineError.

        What was started is gone again where this does not return. Restarts get `timeout_s` too.
        """
        self._timeout_s = timeout_s
        self.api_key = self._new_key()
        child = await Child.begin(self._log, self._withheld)
        try:
            if self._stopped:
                raise EngineError("it was stopped before it was started")
            self._child = child
            async with asyncio.timeout(timeout_s):
                return await child.load(self._spec())
        except TimeoutError as error:
            await self._end(child)
            raise self._not_loaded(f"it took longer than {timeout_s:g} s") from error
        except EngineError as error:
            await self._end(child)
            raise self._not_loaded(str(error)) from error
        except BaseException:
            await self._end(child)
            raise

    def watch(self, on_down: Down, on_up: Up) -> None:
        """From now on, restart it whenever it ends by itself; until `stop`."""
        self._watching = asyncio.create_task(self._watch(on_down, on_up), name="engine watch")
        self._watching.add_done_callback(_watched_no_more)

    async def stop(self, grace_s: float) -> None:
        """End it, also in the middle of a start. It gets `grace_s` to end by itself."""
        self._stopped = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._child is not None:
            await self._end(self._child, grace_s)
        self._log.close()

    def _spec(self) -> Spec:
        return Spec(
            path=str(self._engine.path),
            alias=self._engine.model,
            task=self._task.value,
            slots=self._engine.concurrency,
            context_tokens=self._engine.context_tokens,
            threads=self._engine.threads or len(os.sched_getaffinity(0)),
            api_key=self.api_key.reveal(),
        )

    def _not_loaded(self, ending: str) -> EngineError:
        path = self._engine.path or Path()
        reason = why(path, ending, list(self._log.lines))
        return EngineError(f"engine '{self._engine.name}' cannot load {path}: {reason}")

    async def _end(self, child: Child, grace_s: float = 0.0) -> None:
        await child.end(grace_s)
        if self._child is child:
            self._child = None

    async def _watch(self, on_down: Down, on_up: Up) -> None:
        loop = asyncio.get_running_loop()
        crashes = 0
        while True:
            began = loop.time()
            await self._crashed(on_down)
            crashes = 1 if loop.time() - began > WELL_AFTER_S else crashes + 1
            while not await self._restarted(on_up, pause_s(crashes)):
                crashes += 1

    async def _crashed(self, on_down: Down) -> None:
        """Return once the running engine has ended, and that is known."""
        assert self._child is not None
        status = await self._child.ended()
        reason = f"it ended {how(status)} and is started again"
        log.error("engine '%s': %s", self._engine.name, reason)
        await self._end(self._child)
        on_down(reason)

    async def _restarted(self, on_up: Up, after_s: float) -> bool:
        await self._sleep(after_s)
        try:
            url = await self.start(self._timeout_s)
        except EngineError as error:
            log.error("%s; next try follows", error)
            return False
        log.warning("engine '%s' is loaded again", self._engine.name)
        on_up(url)
        return True


def _watched_no_more(task: asyncio.Task[None]) -> None:
    """Only `stop` ends a watch; anything else is a fault of ours, and must be seen."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("an engine is no longer watched", exc_info=error)
