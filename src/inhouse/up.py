"""`inhouse up`: all parts in one process tree, put together in the order in which they depend.

    lock ► secrets ► audit log ► keys ► listeners ► engines ► probes ► settled ► first key, greeting
    ... ► running requests end ► the way back

Everything that can be refused is refused before anything is started; what was started is stopped
in the reverse order, whatever ends the run.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import uvloop

from inhouse import __version__
from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.log import AuditLog
from inhouse.audit.record import Started, Stopped
from inhouse.audit.secrets import chain_key, fingerprint_key, mark_path
from inhouse.config.schema import Config
from inhouse.console.api import Api
from inhouse.console.authenticate import KeyChannel
from inhouse.console.call import Services
from inhouse.console.routes import TABLE
from inhouse.dlp.screen import Screener
from inhouse.domain import EngineKind, Principal
from inhouse.errors import AuditUnavailable, EngineError, UsageError
from inhouse.fleet.engine import EngineProcess
from inhouse.gateway.admit import Queue
from inhouse.gateway.connection import Connection
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.limit import Limiter
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.listening import Listening
from inhouse.gateway.operations import Operations
from inhouse.gateway.origin import networks
from inhouse.gateway.pipeline import Gateway, serve
from inhouse.gateway.refuse import malformed_answer
from inhouse.gateway.screen import Screening
from inhouse.gateway.settle import Meter
from inhouse.gateway.tls import Certificates
from inhouse.greeting import Greeting
from inhouse.identity.actor import Actor
from inhouse.identity.jwks import ProviderKeys
from inhouse.identity.keys import Keys
from inhouse.identity.tokens import Tokens
from inhouse.identity.watch import KeyWatcher
from inhouse.process import (
    Signals,
    connections_within,
    locked,
    locked_log,
    raise_open_files,
)
from inhouse.telemetry import Metrics, configure_logging
from inhouse.upstream.pool import Pool, Target
from inhouse.upstream.probe import Prober

log = logging.getLogger("inhouse")

ENGINE_START_S = 600.0  # a large model is read from a disk
ENGINE_GRACE_S = 5.0
SETTLE_S = 10.0  # for running engines to answer their first probe; they may come later
SETTLE_POLL_S = 0.02


def up(config: Config, *, json_line: bool, first_key: bool = True) -> None:
    """Serve until SIGINT or SIGTERM. Raises UsageError where it cannot start.

    With `first_key`, the very first start makes a key and shows it.
    """
    configure_logging(config.settings.log.level, config.settings.log.format)
    raise_open_files()
    for note in config.notes:
        log.warning("%s", note)
    with (
        locked(config.data),
        locked_log(config.audit_directory, config.data),
        contextlib.ExitStack() as sockets,
    ):
        clients, admin = _bind_both(config, sockets)
        greeting = Greeting(config, json_line=json_line)
        uvloop.run(_serve(config, clients, admin, greeting, first_key=first_key))
    greeting.stopped()


def _bind_both(config: Config, sockets: contextlib.ExitStack) -> tuple[socket.socket, ...]:
    """The sockets of clients and of operators. Where both are taken, both are named."""
    bound, problems = [], []
    for section in ("gateway", "admin"):
        address = getattr(config.settings, section).listen
        try:
            bound.append(sockets.enter_context(bind(address, f"{section}.listen")))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\ninhouse: ".join(problems))
    return tuple(bound)


@dataclass(frozen=True, slots=True)
class Platform:
    """What runs."""

    config: Config
    pool: Pool
    operations: Operations
    keys: KeyWatcher

    async def settled(self, within_s: float = SETTLE_S) -> dict[str, str]:
        """Wait until every engine answered its first probe or failed it, no longer than
        `within_s`; the models that do not answer, and why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not all(each.health.known for each in self.pool.every()):  # noqa: ASYNC110 - once a life, bounded
                    await asyncio.sleep(SETTLE_POLL_S)
        return {
            name: "; ".join(f"{each.name}: {each.health.reason}" for each in targets)
            for name, targets in self.pool.targets.items()
            if not any(each.health.up for each in targets)
        }

    async def first_key(self) -> str | None:
        """A key for whoever starts this for the first time; None where there was one ever, or
        where the store is away. Requests may use it at once."""
        if self.keys.away_since is not None:
            return None

        def made() -> str | None:
            keys = Keys(self.config)
            if keys.list():
                return None
            secret = keys.create("first key").token.secret.reveal()
            self.keys.follow()
            return secret

        return await asyncio.to_thread(made)

    async def any_key(self) -> bool:
        """Whether there was a key ever; of a store that is away, whether there is one here."""
        if self.keys.away_since is not None:
            return len(self.keys.ring) > 0
        return bool(await asyncio.to_thread(lambda: Keys(self.config).list()))


async def _serve(
    config: Config,
    clients: socket.socket,
    admin: socket.socket,
    greeting: Greeting,
    *,
    first_key: bool,
) -> None:
    signals = Signals(greeting.stopping)
    try:
        async with running(config, clients, admin, greeting) as platform:
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked at again
            missing = await platform.settled()
            signals.started()
            key = await platform.first_key() if first_key else None
            greeting.ready(key, missing, any_key=await platform.any_key())
            await signals.stop.wait()
    except asyncio.CancelledError:
        if not signals.stop.is_set():
            raise


@contextlib.asynccontextmanager
async def running(
    config: Config, clients: socket.socket, admin: socket.socket, greeting: Greeting
) -> AsyncIterator[Platform]:
    """Everything started, in order; and stopped, in the reverse order, on leaving."""
    async with contextlib.AsyncExitStack() as stack:
        metrics = Metrics()
        metrics.build.labels(__version__).set(1)
        audit = await stack.enter_async_context(_audit(config))
        keys = await stack.enter_async_context(_keys(config))
        provider = await stack.enter_async_context(_provider(config))
        gateway, operations, api = _put_together(config, metrics, audit, keys, provider)
        stack.push_async_callback(api.stop)
        operations.watch_keys(lambda: keys.away_since)
        if provider is not None:
            operations.watch_provider(provider)
            metrics.provider_good.set_function(partial(getattr, provider, "good_until"))
        metrics.break_glass.set_function(keys.break_glass)
        front = await stack.enter_async_context(
            _listening(config, clients, admin, gateway, operations)
        )
        greeting.listening(clients, admin)
        await stack.enter_async_context(_engines(config, gateway.pool, greeting))
        await stack.enter_async_context(_probes(config, gateway, metrics))
        stack.push_async_callback(_drain, config, front, operations)
        yield Platform(config, gateway.pool, operations, keys)


async def _drain(config: Config, front: Listener, operations: Operations) -> None:
    """Take nothing new, and let what runs end while its engines are still there."""
    operations.stopping = True
    limit_s = config.settings.gateway.shutdown_timeout_s
    cut = await front.stop(limit_s)
    if cut:
        log.warning("%d requests were cut off after %g s", cut, limit_s)


@contextlib.asynccontextmanager
async def _audit(config: Config) -> AsyncIterator[AuditLog]:
    audit = await AuditLog.open(
        config.audit_directory,
        chain_key(config),
        segment_bytes=config.settings.audit.segment_bytes,
        clock=time.time,
        close_open=True,
        longest_s=config.settings.gateway.request_timeout_s,
        mark=mark_path(config),
    )
    try:
        await audit.write(Started(time.time(), "gateway", __version__, os.getpid()))
        try:
            yield audit
        except BaseException:  # a start that was refused ended as it should, too
            with contextlib.suppress(AuditUnavailable):
                await audit.write(Stopped(time.time(), "gateway", os.getpid()))
            raise
        await audit.write(Stopped(time.time(), "gateway", os.getpid()))
    finally:
        audit.close()


@contextlib.asynccontextmanager
async def _keys(config: Config) -> AsyncIterator[KeyWatcher]:
    watcher = await asyncio.to_thread(KeyWatcher, config)  # a database may let us wait
    await asyncio.to_thread(watcher.start)
    try:
        yield watcher
    finally:
        await asyncio.to_thread(watcher.stop)


@contextlib.asynccontextmanager
async def _provider(config: Config) -> AsyncIterator[ProviderKeys | None]:
    """The keys of the identity provider, followed; None where there is none."""
    if not config.settings.oidc.issuer:
        yield None
        return
    keys = ProviderKeys(config)
    keys.start()
    try:
        yield keys
    finally:
        await asyncio.to_thread(keys.stop)


def _put_together(
    config: Config,
    metrics: Metrics,
    audit: AuditLog,
    keys: KeyWatcher,
    provider: ProviderKeys | None,
) -> tuple[Gateway, Operations, Api]:
    settings, directory = config.settings, keys.directory
    pool = Pool(config)
    meter = Meter(metrics, frozenset(config.models))
    gateway = Gateway(
        config=config,
        people=directory,
        directory=directory,
        audit=audit,
        fingerprinter=Fingerprinter(fingerprint_key(config)),
        pool=pool,
        limiter=Limiter(settings.limits),
        queues={name: Queue(name, settings.limits, pool.places(name)) for name in config.models},
        screening=Screening(settings.dlp, Screener(), meter.found),
        meter=meter,
        clock=time.time,
        proxies=networks(settings.gateway.trusted_proxies),
        tokens=Tokens(settings.oidc, provider) if provider is not None else None,
    )
    for name, queue in gateway.queues.items():
        metrics.waiting.labels(name).set_function(partial(getattr, queue, "waiting"))
        metrics.running.labels(name).set_function(partial(getattr, queue, "running"))

    def acting(principal: Principal, now: float) -> Actor:
        return Actor.of(principal, directory.rights(principal, now))

    services = Services(config, pool, keys.follow)
    api = Api(TABLE, services, [KeyChannel(directory.check)], acting, audit)
    return gateway, Operations(pool, audit, metrics, time.time, gateway.date, api), api


@contextlib.asynccontextmanager
async def _listening(
    config: Config,
    clients: socket.socket,
    admin: socket.socket,
    gateway: Gateway,
    operations: Operations,
) -> AsyncIterator[Listener]:
    section = config.settings.gateway

    def malformed(connection: Connection, error: Malformed) -> bytes:
        operations.malformed()
        return malformed_answer(error, gateway.clock())

    shared = Listening(
        partial(serve, gateway=gateway),
        malformed,
        head_timeout_s=section.head_timeout_s,
        body_timeout_s=section.body_timeout_s,
        body_bytes_per_s=section.body_bytes_per_s,
        idle_timeout_s=section.idle_timeout_s,
        request_timeout_s=section.request_timeout_s,
        write_timeout_s=section.write_timeout_s,
        max_connections=connections_within(section.max_connections),
    )
    operations.watch_connections(lambda: shared.open)
    front = Listener(clients, shared, _certificates(config))
    back = Listener(admin, Listening(operations.serve, malformed, max_connections=256))
    try:
        await front.start()
        await back.start()
        yield front
    finally:
        await front.stop(0)
        await back.stop(0)


def _certificates(config: Config) -> Certificates | None:
    tls = config.settings.tls
    if tls.self_signed:
        from inhouse.gateway import local_ca  # makes keys, which few starts need

        host = config.settings.gateway.listen.rpartition(":")[0].strip("[]")
        renew = partial(local_ca.ensure, config.data / "tls", host, tls.names)
        return Certificates(*renew(), renew)
    return Certificates(*config.tls_files) if config.tls_files else None


@contextlib.asynccontextmanager
async def _engines(config: Config, pool: Pool, greeting: Greeting) -> AsyncIterator[None]:
    """The embedded engines, started side by side, watched until the end."""
    async with contextlib.AsyncExitStack() as stack:
        starting = []
        for name, model in config.models.items():
            for target in pool.of(name):
                if target.kind is EngineKind.EMBEDDED:
                    log_path = config.data / "log" / f"engine-{name.replace('/', '_')}.log"
                    process = EngineProcess(
                        target.engine, model.task, log_path, withheld=config.secret_variables
                    )
                    stack.push_async_callback(process.stop, ENGINE_GRACE_S)
                    starting.append(_start(process, target, greeting))
        await asyncio.gather(*starting)
        yield


async def _start(process: EngineProcess, target: Target, greeting: Greeting) -> None:
    began = time.monotonic()
    greeting.loading(target.engine)
    try:
        target.attach(await process.start(ENGINE_START_S), process.api_key)
    except EngineError as error:
        raise UsageError(str(error)) from error
    greeting.loaded(target.name, time.monotonic() - began)
    process.watch(
        target.detach,
        lambda url: target.attach(url, process.api_key),
    )


@contextlib.asynccontextmanager
async def _probes(config: Config, gateway: Gateway, metrics: Metrics) -> AsyncIterator[None]:
    def changed(target: Target) -> None:
        health = target.health
        metrics.engine_up.labels(target.name).set(health.up)
        level = logging.INFO if health.up else logging.WARNING
        why = f": {health.reason}" if health.reason else ""
        log.log(level, "engine %s is %s%s", target.name, health.state.value, why)
        for queue in gateway.queues.values():
            queue.wake()

    for target in gateway.pool.every():
        metrics.engine_up.labels(target.name).set(0)
        target.changed = changed
    prober = Prober(gateway.pool, config.settings.upstream)
    prober.start()
    try:
        yield
    finally:
        await prober.stop()
        gateway.pool.close()
