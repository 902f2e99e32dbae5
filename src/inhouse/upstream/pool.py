"""The engines behind each model name, and which of them takes the next request."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable

from inhouse.config.schema import Config, Engine, Model, UpstreamSection
from inhouse.config.secrets import Secret
from inhouse.errors import EngineError
from inhouse.upstream.client import EngineClient
from inhouse.upstream.connection import EngineConnection
from inhouse.upstream.dialects.shapes import Rendered
from inhouse.upstream.health import Health, State


class Target:
    """One engine serving one model: its connections, its health, what it is busy with."""

    def __init__(self, engine: Engine, upstream: UpstreamSection) -> None:
        self.engine = engine
        self.name = engine.name
        self.kind = engine.kind
        self.health = Health(upstream.fall, upstream.rise)
        self.model = engine.model  # its name there; a llama.cpp server tells us its own
        self.changed: Callable[[Target], None] = _nobody  # told when its health is another
        self.outstanding = 0  # requests that it was given and has not ended
        self.pieces = 0  # of answers, so far: an engine that is busy is not dead
        self.last_answer = 0.0  # monotonic; a recent real answer saves a probe
        self.moved = asyncio.Event()  # it has another address: to be asked at once
        self._upstream = upstream
        self._client: EngineClient | None = None
        self._head = b""
        if engine.url:
            self.attach(engine.url, engine.api_key)

    def attach(self, url: str, api_key: Secret) -> None:
        """The engine listens here now."""
        self.detach("is starting")
        self._client = EngineClient(url, self._upstream.connect_timeout_s)
        credential = f"authorization: Bearer {api_key.reveal()}\r\n" if api_key else ""
        self._head = (
            f"host: {self._client.authority}\r\ncontent-type: application/json\r\n{credential}"
        ).encode()
        self.moved.set()

    def detach(self, reason: str) -> None:
        """The engine is gone."""
        if self._client is not None:
            self._client.close()
        self._client = None
        if self.health.restarted(reason):
            self.changed(self)

    def send(
        self, rendered: Rendered, request_id: str, first_s: float | None = None
    ) -> Awaitable[EngineConnection]:
        """Send a request and wait for the status. Raises EngineError."""
        client = self._client
        if client is None:
            raise EngineError(f"{self.name} {self.health.reason}")
        body = rendered.body
        head = b"POST %b HTTP/1.1\r\n%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (
            rendered.path.encode(),
            self._head,
            request_id.encode(),
            len(body),
        )
        upstream = self._upstream
        return client.send(
            head, body, first_s or upstream.first_byte_timeout_s, upstream.stall_timeout_s
        )

    def give_back(self, connection: EngineConnection) -> None:
        if self._client is not None:
            self._client.give_back(connection)
        else:
            connection.close()

    def answered(self) -> None:
        """It gave an answer, or began one."""
        self.last_answer = time.monotonic()
        if self.health.answered():
            self.changed(self)

    def failed(self, reason: str) -> None:
        """It could not be reached, or gave no proper answer to a probe."""
        if self.health.failed(reason):
            self.changed(self)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _nobody(_: Target) -> None:
    """Nobody needs to know."""


def least_outstanding(targets: Iterable[Target], tried: Iterable[Target]) -> Target | None:
    """The healthy engine with the least work for its size; None where there is none left."""
    best, least = None, math.inf
    for target in targets:
        if target.health.state is State.UP and target not in tried:
            load = target.outstanding / target.engine.concurrency
            if load < least:
                best, least = target, load
    return best


class Pool:
    """All models of a configuration, with their engines."""

    def __init__(self, config: Config) -> None:
        self.models: dict[str, Model] = config.models
        self.targets: dict[str, list[Target]] = {
            name: [Target(engine, config.settings.upstream) for engine in model.engines]
            for name, model in config.models.items()
        }

    def of(self, model: str) -> list[Target]:
        return self.targets[model]

    def places(self, model: str) -> Callable[[], int]:
        """How many requests the model's healthy engines serve at once, asked anew each time."""
        targets = self.targets[model]

        def places() -> int:
            count = 0
            for target in targets:
                if target.health.state is State.UP:
                    count += target.engine.concurrency
            return count

        return places

    def every(self) -> list[Target]:
        return [target for targets in self.targets.values() for target in targets]

    def close(self) -> None:
        for target in self.every():
            target.close()
