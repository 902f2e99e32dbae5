"""The embedded engine, seen from its parent: started, watched, restarted, stopped.

start ──loaded──► running ──ended by itself──► waiting 0.5 s, 1 s, ... 30 s ──► start ...
  └──not loaded──► EngineError with one sentence
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from inhouse.config.schema import Engine
from inhouse.config.secrets import Secret
from inhouse.domain import Task
from inhouse.errors import EngineError
from inhouse.fleet.enginelog import EngineLog

log = logging.getLogger("inhouse.fleet")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
RESTART_TIMEOUT_S = 600.0


class EngineProcess:
    """One llama.cpp server on one model file."""

    def __init__(self, engine: Engine, task: Task, log_path: Path) -> None:
        self._engine = engine
        self._task = task
        self._log = EngineLog(log_path)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.api_key = Secret("")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self, timeout_s: float) -> str:
        """Start it and wait until the model is loaded. Its URL, or EngineError."""
        self.api_key = Secret(secrets.token_urlsafe(32))
        threads = self._engine.threads or len(os.sched_getaffinity(0))
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "inhouse.fleet.llamacpp",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Threads that wait must not spin: the cores are shared with everything else here
            env={**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads)},
        )
        assert process.stdin is not None
        assert process.stderr is not None
        self._reader = asyncio.create_task(self._log.take(process.stderr))
        try:
            process.stdin.write(self._spec(threads))
            return await self._told(process, timeout_s)
        except BaseException:
            await self._end(0.0)
            raise

    def watch(self, down: Callable[[str], None], up: Callable[[str], None]) -> None:
        """Restart it whenever it ends by itself, saying so; until `stop`."""
        self._watcher = asyncio.create_task(self._watch(down, up))

    async def stop(self, grace_s: float) -> None:
        """End it: close its stdin, then SIGTERM, then SIGKILL. Always reaped."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._end(grace_s)
        self._log.close()

    def _spec(self, threads: int) -> bytes:
        spec = {
            "path": str(self._engine.path),
            "alias": self._engine.model,
            "api_key": self.api_key.reveal(),
            "embedding": self._task is Task.EMBEDDING,
            "slots": self._engine.concurrency,
            "context_tokens": self._engine.context_tokens,
            "threads": threads,
        }
        return json.dumps(spec).encode() + b"\n"

    async def _told(self, process: asyncio.subprocess.Process, timeout_s: float) -> str:
        """What the child says first: where it listens, or why it does not."""
        assert process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await process.stdout.readline()
        except TimeoutError as error:
            raise self._failed(f"was not loaded within {timeout_s:g} s") from error
        try:
            told = json.loads(line)
        except ValueError:
            raise self._failed(await self._last_words(process)) from None
        if "url" not in told:
            raise self._failed(told.get("error", "gave no reason"))
        return str(told["url"])

    async def _last_words(self, process: asyncio.subprocess.Process) -> str:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.0)
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=1.0)
        return f"ended the engine {_how(process.returncode)} while it was loaded"

    def _failed(self, what: str) -> EngineError:
        said = self._log.last_error()
        return EngineError(
            f"the model of '{self._engine.model}', {self._engine.path}: {what}"
            + (f"; llama.cpp said: {said}" if said else "")
        )

    async def _watch(self, down: Callable[[str], None], up: Callable[[str], None]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            if self._process is not None:
                status = await self._process.wait()
                reason = f"ended {_how(status)} and is started again"
                log.error("engine %s %s", self._engine.name, reason)
                down(reason)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            try:
                up(await self.start(RESTART_TIMEOUT_S))
            except EngineError as error:
                log.error("%s", error)
            else:
                log.warning("engine %s is loaded again", self._engine.name)
                pause_s = FIRST_PAUSE_S

    async def _end(self, grace_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for number, wait_s in ((None, grace_s), (signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0)):
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), wait_s)
                break
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=1.0)
            self._reader.cancel()


def _how(status: int | None) -> str:
    if status is None:
        return "without a status"
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
