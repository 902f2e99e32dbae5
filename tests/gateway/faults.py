"""Injects faults into engines' answers, by the thousand, and holds what clients see to the truth.

    python -m tests.gateway.faults [COUNT] [SEED]

Every trial is one request over an engine that cuts, resets, stalls, corrupts, errs or invents, at
any byte, or does nothing wrong. Three things must never be: an answer that the engine did not end
and that looks complete, one that it finished and that does not arrive whole, and a broken stream
whose last event is no error. Prints one JSON object; exits 1 where one of them was.
"""

import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvloop
from tests.gateway.harness import ENDS, MESSAGES, Talk, ends_with_error, gateway

from inhouse.upstream.fake_engine import FakeEngine, Faults

LANES = 16
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    # what is asked, of an engine of which kind
    "chat": ("openai", {"messages": MESSAGES}),
    "completion": ("openai", {"prompt": "hi"}),
    "response, native": ("vllm", {"input": "hi"}),
    "response, translated": ("openai", {"input": "hi"}),
    "message, native": ("vllm", {"messages": MESSAGES, "max_tokens": 64}),
    "message, translated": ("openai", {"messages": MESSAGES, "max_tokens": 64}),
    "Ollama chat, native": ("ollama", {"messages": MESSAGES}),
    "Ollama chat, translated": ("openai", {"messages": MESSAGES}),
    "Ollama generate": ("openai", {"prompt": "hi"}),
}
PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "response": "/v1/responses",
    "message": "/v1/messages",
    "Ollama chat": "/api/chat",
    "Ollama generate": "/api/generate",
}
KINDS = {
    "none": 12,
    "cut": 30,
    "reset": 15,
    "stall": 4,
    "corrupt": 25,
    "error": 4,
    "invented": 4,
    "garbage": 2,
    "empty": 2,
    "status": 2,
}
"""What goes wrong, and how often."""

TOML = """
[limits]
requests_per_minute = 0
concurrent_requests = 0
[upstream]
probe_interval_s = 60
stall_timeout_s = 0.2
first_byte_timeout_s = 0.3
fall = 100
"""


@dataclass(slots=True)
class Tally:
    """What was tried, and what must not have been."""

    trials: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    complete: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trial:
    route: str
    lane: int
    stream: bool
    kind: str
    faults: Faults

    @property
    def path(self) -> str:
        return PATHS[self.route.partition(",")[0]]

    @property
    def model(self) -> str:
        return f"{ROUTES[self.route][0]}{self.lane}"

    @property
    def body(self) -> dict[str, Any]:
        return {**ROUTES[self.route][1], "model": self.model, "stream": self.stream}


def drawn(chance: random.Random, lane: int, size_of: dict[tuple[str, bool], int]) -> Trial:
    """One trial; a place in the answer is drawn from the size that the whole one has."""
    route, stream = chance.choice(list(ROUTES)), chance.random() < 0.75
    kind = chance.choices(list(KINDS), weights=list(KINDS.values()))[0]
    at = chance.randrange(size_of[route, stream])
    tokens = 3
    faults = {
        "none": Faults(tokens=tokens),
        "cut": Faults(tokens=tokens, cut_at=at),
        "reset": Faults(tokens=tokens, cut_at=at, reset=True),
        "stall": Faults(tokens=tokens, stall_at=at),
        "corrupt": Faults(tokens=tokens, corrupt_at=at),
        "error": Faults(tokens=tokens, error_event_at=chance.randrange(4)),
        "invented": Faults(tokens=tokens, invented_done=True),
        "garbage": Faults(garbage=True),
        "empty": Faults(empty=True),
        "status": Faults(status=chance.choice([400, 401, 429, 500, 503])),
    }[kind]
    if kind in ("error", "invented") and (not stream or route == "response, native"):
        kind, faults = "none", Faults(tokens=tokens)  # there is nothing to leave out
    return Trial(route, lane, stream, kind, faults)


def looks_complete(trial: Trial, status: int, body: bytes) -> bool:
    """Whether a client would take this for a whole answer."""
    return status == 200 and (not trial.stream or ENDS[trial.path] in body)


async def whole_answers(
    talk: Talk, engines: dict[str, FakeEngine], lane: int
) -> tuple[dict[tuple[str, bool], bytes], dict[tuple[str, bool], int]]:
    """What clients see of sound answers, and how many bytes engines sent for them."""
    seen, sizes = {}, {}
    for route, (kind, _) in ROUTES.items():
        for stream in (True, False):
            trial = Trial(route, lane, stream, "none", Faults(tokens=3))
            engine = engines[kind]
            engine.faults = trial.faults
            answer = await talk.client.post(trial.path, json=trial.body)
            assert looks_complete(trial, answer.status_code, answer.content), answer.text
            seen[route, stream] = masked(answer.content)
            asked = engine.requests[-1]
            direct = await talk.client.post(engine.url + asked.path, content=asked.body)
            sizes[route, stream] = len(direct.content)
    return seen, sizes


def masked(body: bytes) -> bytes:
    """An answer without what differs each time: what is compared is texts and their order."""
    return b"|".join(part for part in body.split(b'"') if b"hello" in part or part == b"stop")


async def one(talk: Talk, engine: FakeEngine, trial: Trial, whole: bytes, tally: Tally) -> None:
    engine.faults = trial.faults
    engine.requests.clear()
    try:
        answer = await talk.client.post(trial.path, json=trial.body)
    except httpx.TimeoutException:
        tally.violations.append(f"was left hanging: {trial}")
        return
    complete = looks_complete(trial, answer.status_code, answer.content)
    tally.trials += 1
    tally.kinds[trial.kind] += 1
    tally.complete += complete
    if complete and trial.kind != "none" and not harmless(trial, answer.content, whole):
        tally.violations.append(f"looks complete: {trial} {answer.content[-200:]!r}")
    if (
        answer.status_code == 200
        and not complete
        and not ends_with_error(trial.path, answer.content)
    ):
        tally.violations.append(f"ends with no error: {trial} {answer.content[-200:]!r}")
    if trial.kind == "none" and (not complete or masked(answer.content) != whole):
        tally.violations.append(f"was cut: {trial} {answer.content[-200:]!r}")


def harmless(trial: Trial, body: bytes, whole: bytes) -> bool:
    """A corrupt byte in what carries neither text nor end (a comment, an id) changes nothing."""
    return trial.kind == "corrupt" and masked(body) == whole


async def lane(number: int, count: int, seed: int, directory: Path, tally: Tally) -> None:
    """One gateway's trials, one after another."""
    chance = random.Random(seed * 1000 + number)
    async with (
        FakeEngine() as openai,
        FakeEngine() as vllm,
        FakeEngine() as ollama,
    ):
        engines = {"openai": openai, "vllm": vllm, "ollama": ollama}
        models = "".join(
            f'{kind}{number} = "{kind}://127.0.0.1:{engine.port}/m"\n'
            for kind, engine in engines.items()
        )
        async with gateway(directory, toml=f"{TOML}[models]\n{models}") as talk:
            seen, sizes = await whole_answers(talk, engines, number)
            for _ in range(count):
                trial = drawn(chance, number, sizes)
                engine = engines[ROUTES[trial.route][0]]
                await one(talk, engine, trial, seen[trial.route, trial.stream], tally)
            assert talk.verify() == []


async def run(count: int, seed: int) -> Tally:
    """So many trials, in lanes side by side, each over a gateway of its own."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        lanes = []
        for number in range(min(LANES, count)):
            directory = Path(name) / str(number)
            directory.mkdir()
            share = count // LANES + (number < count % LANES)
            lanes.append(lane(number, share, seed, directory, tally))
        await asyncio.gather(*lanes)
    return tally


def main() -> None:
    told = [int(text) for text in sys.argv[1:]]
    count, seed = (*told, *(10_000, 1)[len(told) :])
    tally = uvloop.run(run(count, seed))
    print(
        json.dumps(
            {
                "trials": tally.trials,
                "kinds": dict(tally.kinds),
                "looked_complete": tally.complete,
                "violations": tally.violations[:20],
            }
        )
    )
    sys.exit(bool(tally.violations))


if __name__ == "__main__":
    main()
