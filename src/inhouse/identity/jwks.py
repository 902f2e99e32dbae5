"""The provider's keys, kept current from a thread of its own.

    ahead of their end: fetch ──same keys──► good for another oidc.stale_s
                          ├──a new key────► it counts from now on
                          ├──one is gone──► it counts for oidc.grace_s more
                          └──no answer────► the last keys serve on, with an alarm; again in 15 s

A token with an unknown key has the keys fetched at once, but not twice in 30 s, whoever asks; its
request waits for that, at most oidc.key_wait_s. No other request waits, and none blocks the loop.
The keys are also on the disk, so that a gateway which starts while the provider is away serves on,
as long as the one before would have.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhouse.config.schema import Config
from inhouse.identity.fetch import Provider
from inhouse.identity.jwk import Key, read_keys
from inhouse.identity.strict import NotStrict, json_object
from inhouse.identity.wire import NotFetched
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.identity")

FILE_NAME = "oidc-keys.json"
UNKNOWN_EVERY_S = 30.0  # between two fetches that unknown keys cause
RETRY_S = 15.0
SAY_EVERY_S = 60.0
AHEAD = 0.8  # of the time that the provider gives, after which its keys are fetched anew

Keys = Mapping[tuple[str, str], Key]
"""By kid and alg."""


class ProviderKeys:
    """The keys of the configured provider. Other threads read `keys` and `good_until` only."""

    def __init__(self, config: Config, *, clock: Clock = time.time) -> None:
        """Raises UsageError where oidc.ca_file holds no certificates."""
        self._oidc = config.settings.oidc
        self._provider = Provider(config)
        self._file = config.data / FILE_NAME
        self._clock = clock
        self.keys: Keys = {}
        self.good_until = 0.0  # seconds since the epoch
        self._confirmed = 0.0  # when they were the provider's, seconds since the epoch
        self._away = False
        self._said_at = -SAY_EVERY_S
        self._complaints: list[str] = []
        self._due_at = time.monotonic()  # the next fetch; from here on, monotonic
        self._asked_at = -UNKNOWN_EVERY_S
        self._turn = threading.Condition()
        self._begun = 0  # fetches
        self._ended = 0
        self._asked = 1  # the fetch that a request waits for: the first one, to begin with
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._follow, name="oidc-keys", daemon=True)

    def start(self) -> None:
        """Take the keys of the disk, and begin to follow the provider. Returns at once."""
        self._recall()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a fetch that runs has its own deadline."""
        with self._turn:
            self._stopped = True
            self._turn.notify()
        self._thread.join(2 * self._oidc.fetch_timeout_s + 1)

    @property
    def away_since(self) -> float | None:
        """Since when the keys are not known to be the provider's (seconds since the epoch; 0
        where they never were); None while they are.

        True of a provider that does not answer, and of a thread that hangs or is dead."""
        overdue = time.monotonic() - self._due_at > RETRY_S + 2 * self._oidc.fetch_timeout_s
        return self._confirmed if self._away or overdue or not self._confirmed else None

    async def renewed(self) -> bool:
        """Have the keys fetched, where it is time for that; False where they did not come in
        oidc.key_wait_s."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._turn:
            if self._ended >= self._asked:
                now = time.monotonic()
                if now - self._asked_at < UNKNOWN_EVERY_S:
                    return True
                self._asked_at = now
                self._asked = self._begun + 1  # one that begins after this moment
                self._turn.notify()
            self._waiters[waiter] = self._asked
        try:
            async with asyncio.timeout(self._oidc.key_wait_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            with self._turn:
                self._waiters.pop(waiter, None)
        return True

    def _follow(self) -> None:
        while self._wait():
            try:
                self._fetch()
            except NotFetched as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - a thread that dies leaves old keys alive
                self._failed(f"{type(error).__name__}: {error}")
            self._wake_those_who_wait()

    def _wait(self) -> bool:
        """Until a fetch is due or asked for; False where this is the end."""
        with self._turn:
            while not self._stopped and self._asked <= self._begun:
                left = self._due_at - time.monotonic()
                if left <= 0:
                    break
                self._turn.wait(left)
            self._begun += 1
            return not self._stopped

    def _wake_those_who_wait(self) -> None:
        with self._turn:
            self._ended = self._begun
            served = [waiter for waiter, asked in self._waiters.items() if asked <= self._ended]
        for waiter in served:
            with contextlib.suppress(RuntimeError):  # a loop that has ended
                waiter.get_loop().call_soon_threadsafe(_resolve, waiter)

    def _fetch(self) -> None:
        at = self._clock()  # what is withdrawn after this moment, the next fetch tells
        fetched = self._provider.fetch()
        self._take(fetched.document, at)
        life_s = fetched.max_age_s if fetched.max_age_s is not None else self._oidc.refresh_max_s
        life_s = min(max(life_s, self._oidc.refresh_min_s), self._oidc.refresh_max_s)
        self._due_at = time.monotonic() + max(AHEAD * life_s, self._oidc.refresh_min_s)
        if self._away:
            log.warning("the OpenID Connect provider is back; its keys are current")
        self._away = False
        self._remember(fetched.document, at)

    def _take(self, document: dict[str, Any], at: float) -> None:
        """Go by this JWK set, which was the provider's at `at`. Raises NotFetched where it holds
        nothing to go by: that is a fault, and the keys stay as they are."""
        try:
            read = read_keys(document, self._oidc.algorithms)
        except NotStrict as error:
            raise NotFetched(f"what the provider publishes as its keys {error}") from error
        if read.complaints != self._complaints:
            for complaint in read.complaints:
                log.warning("of the provider's keys, %s", complaint)
            self._complaints = read.complaints
        if not read.keys:
            raise NotFetched("the provider publishes no key that can be used")
        self.keys = merged(self.keys, read.keys, at, self._oidc.grace_s)
        self._confirmed, self.good_until = at, at + self._oidc.stale_s

    def _failed(self, sentence: str) -> None:
        now = time.monotonic()
        self._due_at = now + min(RETRY_S, self._oidc.refresh_min_s)
        if not self._away or now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            log.error("the OpenID Connect provider is away: %s; %s", sentence, self._prospect())
        self._away = True

    def _prospect(self) -> str:
        left = self.good_until - self._clock()
        if left <= 0:
            return "access tokens are refused"
        return f"its last keys serve for {left:.0f} s more, then access tokens are refused"

    # On the disk

    def _remember(self, document: dict[str, Any], at: float) -> None:
        oidc = self._oidc
        kept = {"issuer": oidc.issuer, "jwks_url": oidc.jwks_url, "at": at, "jwks": document}
        draft = self._file.with_name(f".{FILE_NAME}.new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(draft, json.dumps(kept).encode())
            draft.replace(self._file)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error.strerror)

    def _recall(self) -> None:
        """Go by the keys that an earlier process left, where they are of this provider and not too
        old."""
        oidc = self._oidc
        try:
            kept = json_object(self._file.read_bytes())
            at, jwks = kept.get("at"), kept.get("jwks")
            same = (kept.get("issuer"), kept.get("jwks_url")) == (oidc.issuer, oidc.jwks_url)
            if same and type(at) is float and type(jwks) is dict and at <= self._clock():
                self._take(jwks, at)
        except FileNotFoundError:
            pass
        except (OSError, NotStrict, NotFetched) as error:
            log.warning("%s is not used: it %s", self._file, error)


def merged(known: Keys, published: Keys, now: float, grace_s: float) -> Keys:
    """The keys that count, now that the provider publishes these.

    A key that is published still is the same object, so that what it verified stays so. One that
    is gone counts until its grace is over; one whose name was given to another ends at once.
    """
    counting = {}
    for name, key in known.items():
        fresh = published.get(name)
        if fresh is not None:
            same = fresh.same_as(key)
            key.until = math.inf if same else now
            if same:
                counting[name] = key
        else:
            key.until = min(key.until, now + grace_s)
            if now < key.until:
                counting[name] = key
    return {**published, **counting}


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
