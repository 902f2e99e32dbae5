"""The strictness corpus, over raw sockets, against a whole gateway and its engine.

A refused case is answered once, with an error, and its connection ends; neither it nor the request
behind it reaches the engine. An accepted one is answered, and so is the next; exactly what was sent
reaches the engine. Both hold however the bytes come: at once, one by one, and cut at each place
where a reader could lose its count.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.gateway.harness import Talk, gateway
from tests.gateway.strict_accepted import ACCEPTED
from tests.gateway.strict_bodies import BODY_CASES
from tests.gateway.strict_case import CHUNKS, HIDDEN, KEY, Accepted, Refused, chunked, head, plain
from tests.gateway.strict_fields import FIELD_CASES
from tests.gateway.strict_lines import HOSTS, LINES, STARTS
from tests.gateway.strict_reference import Heard

from inhouse.gateway.connection import HELD_BYTES
from inhouse.gateway.http1 import ChunkedBody, HeadReader, Malformed
from inhouse.upstream.fake_engine import PROBE, FakeEngine

REFUSED = [*LINES, *HOSTS, *STARTS, *FIELD_CASES, *BODY_CASES]
LAST = plain(b"last", b"Connection: close")
MOST_PIECES = 1500
LIMITS = "[limits]\nrequests_per_minute = 0\n"

_BOUNDARY = re.compile(rb"(?<=[\r\n :;,/])|(?=[\r\n :;,/])")


@dataclass(slots=True)
class Edge:
    """A gateway, and what its engine hears."""

    talk: Talk
    engine: FakeEngine

    def heard(self) -> list[bytes]:
        """What was said in each request that reached the engine since the last time."""
        probe = PROBE.decode()
        seen = [each for each in self.engine.requests if each.headers["x-request-id"] != probe]
        self.engine.requests.clear()
        return [re.findall(rb'"content": ?"(\w*)"', each.body)[0] for each in seen]

    async def answer(self, pieces: Iterator[bytes]) -> bytes:
        """All that comes back until the gateway ends the connection, which it must."""
        reader, writer = await self.talk.raw(b"")
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)  # so that it arrives alone
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.transport.abort()


def at_once(wire: bytes) -> Iterator[bytes]:
    yield wire


def one_by_one(wire: bytes) -> Iterator[bytes]:
    step = len(wire) // MOST_PIECES + 1
    return (wire[at : at + step] for at in range(0, len(wire), step))


def at_boundaries(wire: bytes) -> Iterator[bytes]:
    """Cut before and behind whatever means something to a reader."""
    pieces = [piece for piece in _BOUNDARY.split(wire[:20_000]) if piece]
    return iter([*pieces[:MOST_PIECES], b"".join(pieces[MOST_PIECES:]) + wire[20_000:]])


WAYS = pytest.mark.parametrize("way", [at_once, one_by_one, at_boundaries])
Way = Callable[[bytes], Iterator[bytes]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    directory: Path = tmp_path_factory.mktemp("strict")
    async with FakeEngine(model="m") as engine, gateway(directory, engine, toml=LIMITS) as talk:
        engine.requests.clear()
        assert len(talk.key) == len(KEY)
        yield Edge(talk, engine)


def statuses(answer: bytes) -> tuple[int, ...]:
    return tuple(int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer))


@pytest.mark.asyncio(loop_scope="module")
@WAYS
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
async def test_refused(edge: Edge, case: Refused, way: Way) -> None:
    wire = (case.wire + HIDDEN).replace(KEY, edge.talk.key.encode())
    answer = await edge.answer(way(wire))
    assert edge.heard() == []
    assert len(statuses(answer)) == 1, answer
    assert statuses(answer)[0] in case.statuses, answer
    assert b"\r\nconnection: close\r\n" in answer
    assert (b"\r\nallow: " in answer) == (405 in statuses(answer))


@pytest.mark.asyncio(loop_scope="module")
@WAYS
@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
async def test_accepted(edge: Edge, case: Accepted, way: Way) -> None:
    wire = (case.wire + LAST).replace(KEY, edge.talk.key.encode())
    answer = await edge.answer(way(wire))
    found = tuple(status for status in statuses(answer) if status != 100)
    kept = len(found) > len(case.statuses) if case.kept is None else case.kept
    assert found == (*case.statuses, *((200,) if kept else ())), answer
    assert edge.heard() == [*case.heard, *((b"last",) if kept else ())]


HELD = [case for case in REFUSED if len(case.wire) < HELD_BYTES - 1000]
"""What is longer is not held behind a request that is answered: the connection ends with it."""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", HELD, ids=lambda case: case.name)
async def test_refused_behind_a_request_that_is_answered(edge: Edge, case: Refused) -> None:
    wire = (plain(b"first") + case.wire + HIDDEN).replace(KEY, edge.talk.key.encode())
    answer = await edge.answer(at_once(wire))
    assert edge.heard() == [b"first"]
    assert statuses(answer)[0] == 200, answer
    assert len(statuses(answer)) == 2, answer
    assert statuses(answer)[1] in case.statuses, answer


CUTS = {
    "a head": (plain(b"hi"), 0),
    "a counted body": (plain(b"hi"), len(head()) + 30),
    "a chunked body": (chunked(CHUNKS), len(head()) + 30),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CUTS)
async def test_what_breaks_off_is_not_heard(edge: Edge, name: str) -> None:
    whole, start = CUTS[name]
    wire = whole.replace(KEY, edge.talk.key.encode())
    for end in range(start, len(wire)):
        _, writer = await edge.talk.raw(wire[:end])
        writer.close()
        await writer.wait_closed()
    assert statuses(await edge.answer(at_once(LAST.replace(KEY, edge.talk.key.encode())))) == (200,)
    assert edge.heard() == [b"last"]


def verdict(wire: bytes, *cuts: int) -> tuple[list[Heard], bool]:
    """The requests that the readers see in these bytes, and whether they refuse what follows."""
    seen: list[Heard] = []
    heads, chunks, left, body = HeadReader(), ChunkedBody(), 0, b""
    try:
        for start, end in zip((0, *cuts), (*cuts, len(wire)), strict=True):
            data = wire[start:end]
            while data:
                if not left:
                    found = heads.feed(data)
                    if found is None:
                        break
                    (parsed, data), chunks, body = found, ChunkedBody(), b""
                    left = parsed.length
                    seen.append(
                        Heard(parsed.method, parsed.path, parsed.query, parsed.keep_alive, None)
                    )
                elif left < 0:
                    body += chunks.feed(data)
                    data = chunks.excess if chunks.done else b""
                    left = 0 if chunks.done else left
                else:
                    body, data, left = body + data[:left], data[left:], max(0, left - len(data))
                if not left:
                    seen[-1] = replace(seen[-1], body=body)
    except Malformed:
        return seen, True
    return seen, False


@pytest.mark.parametrize(
    "case", [*REFUSED, *ACCEPTED], ids=lambda case: f"{type(case).__name__}, {case.name}"
)
def test_a_verdict_does_not_depend_on_the_cut(case: Accepted | Refused) -> None:
    wire = case.wire + HIDDEN
    whole = verdict(wire)
    assert whole[1] == isinstance(case, Refused)
    for cut in range(0, len(wire), len(wire) // MOST_PIECES + 1):
        assert verdict(wire, cut) == whole, cut


def test_there_are_enough_cases() -> None:
    for cases in (REFUSED, ACCEPTED):
        assert len({case.name for case in cases}) == len({case.wire for case in cases}) > 100
    assert len(REFUSED) > 800
