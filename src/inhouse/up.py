"""`inhouse up`: all parts in one process tree, put together in the order in which they depend.

    lock ► secrets ► audit log ► keys ► listeners ► engines ► probes ► ready ... ► the way back

Everything that can be refused is refused before anything is started; what was started is stopped
in the reverse order, whatever ends the run.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import uvloop

from inhouse import __version__
from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.log import AuditLog
from inhouse.audit.record import Started, Stopped
from inhouse.config.keyfile import read_or_create
from inhouse.config.schema import Config
from inhouse.dlp.screen import Screener
from inhouse.domain import EngineKind
from inhouse.errors import EngineError, UsageError
from inhouse.fleet.engine import EngineProcess
from inhouse.gateway.admit import Queue
from inhouse.gateway.connection import Connection, Listening
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.limit import Limiter
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.operations import Operations
from inhouse.gateway.pipeline import Gateway, serve
from inhouse.gateway.refuse import malformed_answer
from inhouse.gateway.screen import Screening
from inhouse.gateway.settle import Meter
from inhouse.greeting import Greeting
from inhouse.identity.keyring import KeyRing
from inhouse.identity.keys import Keys
from inhouse.identity.watch import KeyWatcher
from inhouse.telemetry import Metrics, configure_logging
from inhouse.upstream.pool import Pool, Target
from inhouse.upstream.probe import Prober

log = logging.getLogger("inhouse")

OPEN_FILES = 65_536
ENGINE_START_S = 600.0  # a large model is read from a disk
ENGINE_GRACE_S = 5.0
READY_POLL_S = 0.05


def up(config: Config, *, json_line: bool) -> None:
    """Serve until SIGINT or SIGTERM. Raises UsageError where it cannot start."""
    configure_logging(config.settings.log.level, config.settings.log.format)
    _raise_open_files()
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(config.data), contextlib.ExitStack() as sockets:
        settings = config.settings
        clients = sockets.enter_context(bind(settings.gateway.listen, "gateway.listen"))
        admin = sockets.enter_context(bind(settings.admin.listen, "admin.listen"))
        uvloop.run(_serve(config, clients, admin, Greeting(config, json_line=json_line)))


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """One gateway per data directory, for as long as the context lasts."""
    with (data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UsageError(
                f"{data} is in use by another 'inhouse up' (process {holder}); "
                "stop it, or choose another directory with --data"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


async def _serve(
    config: Config, clients: socket.socket, admin: socket.socket, greeting: Greeting
) -> None:
    stop = _stop_on_signals()
    async with running(config, clients, admin, greeting) as operations:
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked at again
        if await ready(operations, stop):
            greeting.ready()
        await stop.wait()
        greeting.stopping()


@contextlib.asynccontextmanager
async def running(
    config: Config, clients: socket.socket, admin: socket.socket, greeting: Greeting
) -> AsyncIterator[Operations]:
    """Everything started, in order; and stopped, in the reverse order, on leaving."""
    async with contextlib.AsyncExitStack() as stack:
        metrics = Metrics()
        metrics.build.labels(__version__).set(1)
        audit = await stack.enter_async_context(_audit(config))
        greeting.key = await asyncio.to_thread(_first_key, config)
        keys = await stack.enter_async_context(_keys(config))
        gateway, operations = _put_together(config, metrics, audit, keys)
        await stack.enter_async_context(_listening(config, clients, admin, gateway, operations))
        greeting.listening(clients, admin)
        await stack.enter_async_context(_engines(config, gateway.pool, greeting))
        await stack.enter_async_context(_probes(config, gateway, metrics))
        yield operations


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)  # asked twice: at once, and the engines follow their closed pipe
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    return stop


def _raise_open_files() -> None:
    """A stream is two sockets; the usual limit of 1,024 files ends at 500 of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.asynccontextmanager
async def _audit(config: Config) -> AsyncIterator[AuditLog]:
    key = read_or_create(config.secrets_directory / "audit.key")
    audit = AuditLog.open(
        config.audit_directory,
        key,
        segment_bytes=config.settings.audit.segment_bytes,
        clock=time.time,
        close_open=True,
    )
    try:
        await audit.append(Started(time.time(), "gateway", __version__, os.getpid()))
        yield audit
        await audit.append(Stopped(time.time(), "gateway", os.getpid()))
    finally:
        audit.close()


@contextlib.asynccontextmanager
async def _keys(config: Config) -> AsyncIterator[KeyRing]:
    watcher = KeyWatcher(config)
    watcher.start()
    try:
        yield watcher.ring
    finally:
        await asyncio.to_thread(watcher.stop)


def _put_together(
    config: Config, metrics: Metrics, audit: AuditLog, keys: KeyRing
) -> tuple[Gateway, Operations]:
    settings = config.settings
    pool = Pool(config)
    meter = Meter(metrics, frozenset(config.models))
    gateway = Gateway(
        config=config,
        keys=keys,
        audit=audit,
        fingerprinter=Fingerprinter(read_or_create(config.secrets_directory / "fingerprint.key")),
        pool=pool,
        limiter=Limiter(settings.limits),
        queues={name: Queue(name, settings.limits, pool.places(name)) for name in config.models},
        screening=Screening(settings.dlp, Screener(), meter.found),
        meter=meter,
        clock=time.time,
    )
    for name, queue in gateway.queues.items():
        metrics.waiting.labels(name).set_function(partial(getattr, queue, "waiting"))
        metrics.running.labels(name).set_function(partial(getattr, queue, "running"))
    return gateway, Operations(pool, audit, metrics, time.time, gateway.date)


@contextlib.asynccontextmanager
async def _listening(
    config: Config,
    clients: socket.socket,
    admin: socket.socket,
    gateway: Gateway,
    operations: Operations,
) -> AsyncIterator[None]:
    section = config.settings.gateway

    def malformed(connection: Connection, error: Malformed) -> bytes:
        operations.malformed()
        return malformed_answer(error, gateway.clock())

    async def answer(exchange: Exchange) -> None:
        await serve(exchange, gateway)

    shared = Listening(
        answer,
        malformed,
        head_timeout_s=section.head_timeout_s,
        body_timeout_s=section.body_timeout_s,
        idle_timeout_s=section.idle_timeout_s,
        request_timeout_s=section.request_timeout_s,
        write_timeout_s=section.write_timeout_s,
        max_connections=section.max_connections,
    )
    operations.watch_connections(shared.connections)
    front = Listener(clients, shared)
    back = Listener(admin, Listening(operations.serve, malformed, max_connections=256))
    await front.start()
    await back.start()
    try:
        yield
    finally:
        cut = await front.stop(section.shutdown_timeout_s)
        if cut:
            log.warning("%d requests were cut off after %g s", cut, section.shutdown_timeout_s)
        await back.stop(0)


@contextlib.asynccontextmanager
async def _engines(config: Config, pool: Pool, greeting: Greeting) -> AsyncIterator[None]:
    """The embedded engines, started side by side, watched until the end."""
    async with contextlib.AsyncExitStack() as stack:
        starting = []
        for name, model in config.models.items():
            for target in pool.of(name):
                if target.kind is EngineKind.EMBEDDED:
                    log_path = config.data / "log" / f"engine-{name.replace('/', '_')}.log"
                    process = EngineProcess(target.engine, model.task, log_path)
                    stack.push_async_callback(process.stop, ENGINE_GRACE_S)
                    starting.append(_start(process, target, greeting))
        await asyncio.gather(*starting)
        yield


async def _start(process: EngineProcess, target: Target, greeting: Greeting) -> None:
    began = time.monotonic()
    try:
        target.attach(await process.start(ENGINE_START_S), process.api_key)
    except EngineError as error:
        raise UsageError(str(error)) from error
    greeting.engine(target.name, time.monotonic() - began)
    process.watch(
        target.detach,
        lambda url: target.attach(url, process.api_key),
    )


@contextlib.asynccontextmanager
async def _probes(config: Config, gateway: Gateway, metrics: Metrics) -> AsyncIterator[None]:
    def changed(target: Target) -> None:
        metrics.engine_up.labels(target.name).set(target.health.up)
        for queue in gateway.queues.values():
            queue.wake()

    prober = Prober(gateway.pool, config.settings.upstream, changed)
    prober.start()
    try:
        yield
    finally:
        await prober.stop()
        gateway.pool.close()


async def ready(operations: Operations, stop: asyncio.Event) -> bool:
    """Wait until every model answers, or the run is ended before that."""
    while not operations.ready():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), READY_POLL_S)
        if stop.is_set():
            return False
    return True


def _first_key(config: Config) -> str | None:
    """A key for whoever starts this for the first time; None where there was one ever."""
    keys = Keys(config)
    if keys.list():
        return None
    return keys.create("first key").token.secret.reveal()
