"""One run of the child program: begun, heard out, ended. Every wait has a deadline."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict

from inhouse.errors import EngineError
from inhouse.fleet.diagnosis import how
from inhouse.fleet.enginelog import EngineLog
from inhouse.fleet.llamacpp import Spec

COMMAND = (sys.executable, "-P", "-m", "inhouse.fleet.llamacpp")  # -P: never from the directory
LAST_WORDS_S = 1.0
TERMINATE_S = 1.0
WITHHELD = ("INHOUSE_", "PG")  # our own variables, and those of the database's client


class Child:
    """A process that runs `inhouse.fleet.llamacpp`; its standard error goes to the log."""

    def __init__(self, process: asyncio.subprocess.Process, log: EngineLog) -> None:
        assert process.stderr is not None
        self._process = process
        self._log = log
        self._listening = asyncio.create_task(log.take(process.stderr), name="engine log")

    @classmethod
    async def begin(cls, log: EngineLog, withheld: frozenset[str]) -> "Child":
        """Start the program, which does not see the variables `withheld`.

        Raises EngineError where the system has no room for it.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(withheld),
                start_new_session=True,  # a signal to our group is ours to act on
            )
        except OSError as error:
            raise EngineError(f"{sys.executable} cannot be started: {error.strerror}") from error
        log.started(f"process {process.pid} started")
        return cls(process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def load(self, spec: Spec) -> str:
        """Hand the spec over and wait for the URL. Raises EngineError with how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(spec)).encode() + b"\n")
        try:
            line = await self._process.stdout.readline()
            told = json.loads(line)
        except ValueError:
            told = {}
        if "url" in told:
            self._log.serving("serving")
            return str(told["url"])
        status = await self.ended()
        raise EngineError(told.get("error", f"its process ended {how(status)}"))

    async def ended(self) -> int:
        """Wait for its end and its last words; its status as subprocess has it."""
        status = await self._process.wait()
        await asyncio.wait([self._listening], timeout=LAST_WORDS_S)
        if not self._listening.cancelled():
            self._listening.cancel()
            self._log.ended(f"process {self.pid} ended {how(status)}")
        return status

    async def end(self, grace_s: float) -> None:
        """End it: its stdin closed, then SIGTERM, then SIGKILL. It is reaped in any case."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not await self._gone_within(grace_s):
            self._signal(signal.SIGTERM)
            if not await self._gone_within(TERMINATE_S):
                self._signal(signal.SIGKILL)
        await self.ended()

    async def _gone_within(self, wait_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), wait_s)
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _environment(withheld: frozenset[str]) -> dict[str, str]:
    """What the child needs of ours: not our secrets, and threads that wait without spinning."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(WITHHELD) and name not in withheld
    }
    return {**ours, "OMP_WAIT_POLICY": "passive", "GGML_NO_BACKTRACE": "1"}
