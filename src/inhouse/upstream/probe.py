"""Knows whether each model answers: by asking it for one token, and by the requests it serves."""

import asyncio
import contextlib
import logging
import time

import msgspec

from inhouse.config.schema import UpstreamSection
from inhouse.domain import EngineKind, Task
from inhouse.errors import EngineError
from inhouse.upstream.connection import EngineBroke, EngineConnection
from inhouse.upstream.dialects.shapes import Reader, Rendered
from inhouse.upstream.pool import Pool, Target

log = logging.getLogger("inhouse.upstream")

MAX_PROBE_BYTES = 1_048_576  # an embedding of some thousand numbers fits
FIRST_PROBES_S = 0.2  # between probes of an engine that is not up yet


class _Answer(msgspec.Struct):
    """What is read of a probe's answer: that it is one, and from the model that we asked for."""

    model: str = ""
    choices: list[msgspec.Raw] = []
    data: list[msgspec.Raw] = []
    done: bool = False
    remote_host: str = ""  # Ollama: it passes this model's requests on, to a service outside


def rendered(target: Target, task: Task) -> Rendered:
    """The smallest real request: one token, or one embedding."""
    body: dict[str, object] = {"model": target.model}
    if task is Task.EMBEDDING:
        path = "/v1/embeddings"
        body["input"] = "ready?"
    elif target.kind is EngineKind.OLLAMA:
        path = "/api/chat"
        body |= {"stream": False, "keep_alive": -1, "options": {"num_predict": 1}}
        body["messages"] = [{"role": "user", "content": "ready?"}]
    else:
        path = "/v1/chat/completions"
        body["messages"] = [{"role": "user", "content": "ready?"}]
        body["max_tokens"] = 1
    return Rendered(path, msgspec.json.encode(body), _NO_READER)


class _NoReader:
    content_type = b""


_NO_READER: Reader = _NoReader()  # type: ignore[assignment]  # a probe reads its answer itself


async def probe(target: Target, task: Task, timeout_s: float) -> None:
    """Ask once. Raises EngineError with one sentence where there is no proper answer."""
    async with asyncio.timeout(timeout_s):
        connection = await target.send(rendered(target, task), "probe", timeout_s)
        status = connection.status
        try:
            body = await _body(target, connection)
        finally:
            target.give_back(connection)
    if status != 200:
        raise EngineBroke(f"{target.name} answered the probe with status {status}")
    _check(target, body)


async def _body(target: Target, connection: EngineConnection) -> bytes:
    body = b""
    while piece := await connection.read():
        body += piece
        if len(body) > MAX_PROBE_BYTES:
            raise EngineBroke(f"{target.name} answered the probe with more than one token")
    return body


def _check(target: Target, body: bytes) -> None:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EngineBroke(f"{target.name} answered the probe with no JSON of a model") from error
    if answer.remote_host:
        raise EngineBroke(f"{target.name} sends prompts on to {answer.remote_host}")
    if not (answer.choices or answer.data or answer.done):
        raise EngineBroke(f"{target.name} answered the probe with an empty answer")
    if target.kind is EngineKind.LLAMACPP:
        target.model = answer.model or target.model  # it answers to any name, with its own
    elif answer.model and answer.model != target.model:
        raise EngineBroke(f"{target.name} serves '{answer.model}', not '{target.model}'")


class Prober:
    """Probes every engine, each in a task of its own."""

    def __init__(self, pool: Pool, upstream: UpstreamSection) -> None:
        self._pool = pool
        self._upstream = upstream
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for name, model in self._pool.models.items():
            for target in self._pool.of(name):
                self._tasks.append(asyncio.create_task(self._watch(target, model.task)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, target: Target, task: Task) -> None:
        while True:
            if not self._proven(target):
                await self._once(target, task)
            target.moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(target.moved.wait(), self._pause_s(target))

    def _pause_s(self, target: Target) -> float:
        interval_s = self._upstream.probe_interval_s
        return interval_s if target.health.up else min(FIRST_PROBES_S, interval_s)

    def _proven(self, target: Target) -> bool:
        """A real answer since the last probe says as much as a probe, and costs nothing."""
        recent = time.monotonic() - target.last_answer < self._upstream.probe_interval_s
        return target.health.up and recent

    async def _once(self, target: Target, task: Task) -> None:
        before = target.pieces
        try:
            await probe(target, task, self._upstream.probe_timeout_s)
        except (EngineError, TimeoutError) as error:
            if target.pieces == before:  # else it is busy: it answered others meanwhile
                target.failed(str(error) or f"{target.name} did not answer the probe in time")
        except Exception:  # the outermost net: an engine that nobody watches stays as it is
            log.exception("the probe of %s failed", target.name)
            target.failed("could not be probed; the log says why")
        else:
            target.answered()
