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
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import uvloop

from inhouse import __version__, parts
from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.log import AuditLog
from inhouse.audit.secrets import fingerprint_key
from inhouse.config.schema import Config
from inhouse.console.api import Api
from inhouse.console.authenticate import KeyChannel
from inhouse.console.call import Services
from inhouse.console.routes import TABLE
from inhouse.dlp.screen import Screener
from inhouse.domain import Principal
from inhouse.errors import UsageError
from inhouse.gateway.admit import Queue
from inhouse.gateway.limit import Limiter
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.operations import Operations
from inhouse.gateway.origin import networks
from inhouse.gateway.pipeline import Gateway
from inhouse.gateway.screen import Screening
from inhouse.gateway.settle import Meter
from inhouse.greeting import Greeting
from inhouse.identity.actor import Actor
from inhouse.identity.jwks import ProviderKeys
from inhouse.identity.keys import Keys
from inhouse.identity.tokens import Tokens
from inhouse.identity.watch import KeyWatcher
from inhouse.process import (
    Signals,
    locked,
    locked_log,
    raise_open_files,
)
from inhouse.telemetry import Metrics, configure_logging
from inhouse.upstream.pool import Pool

log = logging.getLogger("inhouse")

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
        audit = await stack.enter_async_context(parts.audit(config))
        keys = await stack.enter_async_context(parts.keys(config))
        provider = await stack.enter_async_context(parts.provider(config))
        gateway, operations, api = _put_together(config, metrics, audit, keys, provider)
        stack.push_async_callback(api.stop)
        operations.watch_keys(lambda: keys.away_since)
        if provider is not None:
            operations.watch_provider(provider)
            metrics.provider_good.set_function(partial(getattr, provider, "good_until"))
        metrics.break_glass.set_function(keys.break_glass)
        front = await stack.enter_async_context(
            parts.listening(config, clients, admin, gateway, operations)
        )
        greeting.listening(clients, admin)
        await stack.enter_async_context(parts.engines(config, gateway.pool, greeting))
        await stack.enter_async_context(parts.probes(config, gateway, metrics))
        stack.push_async_callback(_drain, config, front, operations)
        yield Platform(config, gateway.pool, operations, keys)


async def _drain(config: Config, front: Listener, operations: Operations) -> None:
    """Take nothing new, and let what runs end while its engines are still there."""
    operations.stopping = True
    limit_s = config.settings.gateway.shutdown_timeout_s
    cut = await front.stop(limit_s)
    if cut:
        log.warning("%d requests were cut off after %g s", cut, limit_s)


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
