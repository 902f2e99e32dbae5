"""The request path with every control out: what is left is HTTP, the dialect, and the relay.

    python -m bench.bare --config FILE --data DIR

This is no mode of the product, which has no switch for it: key, limits, screening and the log are
replaced here, at the seams through which they are handed in, so that what they cost can be told.
"""

import argparse
import asyncio
import contextlib
import time
from pathlib import Path
from typing import cast

import uvloop

from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.log import AuditLog
from inhouse.audit.record import Record
from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.dlp.screen import Screener
from inhouse.domain import Principal
from inhouse.gateway.admit import Queue
from inhouse.gateway.connection import Connection
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.limit import Limiter
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.listening import Listening
from inhouse.gateway.pipeline import Gateway, serve
from inhouse.gateway.refuse import malformed_answer
from inhouse.gateway.screen import Screening
from inhouse.gateway.settle import Meter
from inhouse.identity.policy import USE, Rights, Rule
from inhouse.process import raise_open_files
from inhouse.telemetry import Metrics
from inhouse.upstream.pool import Pool
from inhouse.upstream.probe import Prober

EVERYTHING = Rights({USE: (Rule("bench", None, None, None),)})


class Anybody:
    """Keys that are not looked at, of one who may use everything."""

    def check(self, presented: bytes, now: float) -> Principal:
        return Principal("key:bench", "bench")

    def person(
        self, issuer: str, subject: str, groups: frozenset[str], *, name: str, now: float
    ) -> None:
        """There is no provider."""

    def rights(self, principal: Principal, now: float) -> Rights:
        return EVERYTHING


class NoLog:
    """A log that writes nothing down."""

    def __init__(self) -> None:
        self._done = asyncio.get_running_loop().create_future()
        self._done.set_result(None)

    def accept(self) -> None:
        """Always ready."""

    def append(self, record: Record) -> "asyncio.Future[None]":
        return self._done

    def keep(self, record: Record) -> None:
        """Kept nowhere."""


class NoFingerprints:
    def both(self, texts: list[str], last: str) -> tuple[str, str]:
        return "", ""


class NoLimits:
    def reserve(self, principal: Principal, now: float) -> "contextlib.nullcontext[None]":
        return contextlib.nullcontext()


async def run(config: Config) -> None:
    metrics = Metrics()
    pool = Pool(config)
    meter = Meter(metrics, frozenset(config.models))
    settings = config.settings
    gateway = Gateway(
        config=config,
        people=Anybody(),
        directory=Anybody(),
        audit=cast("AuditLog", NoLog()),
        fingerprinter=cast("Fingerprinter", NoFingerprints()),
        pool=pool,
        limiter=cast("Limiter", NoLimits()),
        queues={name: Queue(name, settings.limits, pool.places(name)) for name in config.models},
        screening=Screening(settings.dlp, Screener(), meter.found),
        meter=meter,
        clock=time.time,
    )

    def malformed(_: Connection, error: Malformed) -> bytes:
        return malformed_answer(error, time.time())

    async def answer(exchange: Exchange) -> None:
        await serve(exchange, gateway)

    shared = Listening(answer, malformed, max_connections=settings.gateway.max_connections)
    with bind(settings.gateway.listen, "gateway.listen") as sock:
        prober = Prober(pool, settings.upstream)
        prober.start()
        await Listener(sock, shared).start()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.bare", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    raise_open_files()
    uvloop.run(run(load_config(options.config, options.data)))


if __name__ == "__main__":
    main()
