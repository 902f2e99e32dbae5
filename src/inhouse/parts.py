"""The parts of `inhouse up`: each is started on entering, and stopped on leaving."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from functools import partial

from inhouse import __version__
from inhouse.audit.log import AuditLog
from inhouse.audit.record import Started, Stopped
from inhouse.audit.secrets import chain_key, mark_path
from inhouse.config.schema import Config
from inhouse.domain import EngineKind
from inhouse.errors import AuditUnavailable, EngineError, UsageError
from inhouse.fleet.engine import EngineProcess
from inhouse.gateway.connection import Connection
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.listener import Listener
from inhouse.gateway.listening import Listening
from inhouse.gateway.operations import Operations
from inhouse.gateway.pipeline import Gateway, serve
from inhouse.gateway.refuse import malformed_answer
from inhouse.gateway.tls import Certificates
from inhouse.greeting import Greeting
from inhouse.identity.jwks import ProviderKeys
from inhouse.identity.watch import KeyWatcher
from inhouse.process import connections_within
from inhouse.telemetry import Metrics
from inhouse.upstream.pool import Pool, Target
from inhouse.upstream.probe import Prober

log = logging.getLogger("inhouse")

ENGINE_START_S = 600.0  # a large model is read from a disk
ENGINE_GRACE_S = 5.0


@contextlib.asynccontextmanager
async def audit(config: Config) -> AsyncIterator[AuditLog]:
    opened = await AuditLog.open(
        config.audit_directory,
        chain_key(config),
        segment_bytes=config.settings.audit.segment_bytes,
        clock=time.time,
        close_open=True,
        longest_s=config.settings.gateway.request_timeout_s,
        mark=mark_path(config),
    )
    try:
        await opened.write(Started(time.time(), "gateway", __version__, os.getpid()))
        try:
            yield opened
        except BaseException:  # a start that was refused ended as it should, too
            with contextlib.suppress(AuditUnavailable):
                await opened.write(Stopped(time.time(), "gateway", os.getpid()))
            raise
        await opened.write(Stopped(time.time(), "gateway", os.getpid()))
    finally:
        opened.close()


@contextlib.asynccontextmanager
async def keys(config: Config) -> AsyncIterator[KeyWatcher]:
    watcher = await asyncio.to_thread(KeyWatcher, config)  # a database may let us wait
    await asyncio.to_thread(watcher.start)
    try:
        yield watcher
    finally:
        await asyncio.to_thread(watcher.stop)


@contextlib.asynccontextmanager
async def provider(config: Config) -> AsyncIterator[ProviderKeys | None]:
    """The keys of the identity provider, followed; None where there is none."""
    if not config.settings.oidc.issuer:
        yield None
        return
    followed = ProviderKeys(config)
    followed.start()
    try:
        yield followed
    finally:
        await asyncio.to_thread(followed.stop)


@contextlib.asynccontextmanager
async def listening(
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
async def engines(config: Config, pool: Pool, greeting: Greeting) -> AsyncIterator[None]:
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
async def probes(config: Config, gateway: Gateway, metrics: Metrics) -> AsyncIterator[None]:
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
