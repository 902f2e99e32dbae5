"""The fake engine on its own: each fault as it is on the wire, seen by a bare socket."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from inhouse.errors import UsageError
from inhouse.upstream.fake_engine import FakeEngine, Faults

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
LINES = ("/api/chat", "/api/generate")
ENDINGS = {
    "/v1/chat/completions": b"data: [DONE]\n\n",
    "/v1/completions": b"data: [DONE]\n\n",
    "/v1/responses": b"event: response.completed\n",
    "/v1/messages": b"event: message_stop\n",
    "/api/chat": b'"done":true',
    "/api/generate": b'"done":true',
}


def sent(path: str, *, stream: bool = True, **fields: Any) -> bytes:
    body = json.dumps({"model": "m", "messages": [], "stream": stream, **fields}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def whole(head: bytes, body: bytes) -> bool:
    """Whether an answer is there to its end, as its framing says."""
    _, named, rest = head.partition(b"content-length: ")
    if named:
        return len(body) >= int(rest.split(b"\r\n")[0])
    return bool(head) and body.endswith(b"0\r\n\r\n")


async def read(
    engine: FakeEngine, request: bytes, silence_s: float = 10
) -> tuple[bytes, bytes, str]:
    """The head, the body as framed, and what was left: 'whole', 'silent', 'closed' or 'reset'."""
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    writer.write(request)
    got, end = b"", "closed"
    try:
        while data := await asyncio.wait_for(reader.read(65_536), silence_s):
            got += data
            head, _, body = got.partition(b"\r\n\r\n")
            if whole(head, body):
                end = "whole"
                break
    except TimeoutError:
        end = "silent"
    except ConnectionResetError:
        end = "reset"
    writer.close()
    head, _, body = got.partition(b"\r\n\r\n")
    return head, body, end


def plain(body: bytes) -> bytes:
    """A chunked body without its framing; ValueError where the last chunk is missing."""
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return whole
        whole, body = whole + rest[:length], rest[length + 2 :]


@pytest.mark.parametrize("path", PATHS + LINES)
async def test_a_stream_without_faults_ends_as_its_dialect_ends(path: str) -> None:
    async with FakeEngine(Faults(tokens=3)) as engine:
        head, body, end = await read(engine, sent(path))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert plain(body).count(b'" hello"') == 3
    assert ENDINGS[path] in plain(body)[-600:]
    assert end == "whole"


@pytest.mark.parametrize("path", PATHS + LINES)
async def test_a_whole_answer_is_as_long_as_it_says(path: str) -> None:
    async with FakeEngine(Faults(tokens=3)) as engine:
        head, body, _ = await read(engine, sent(path, stream=False))
    assert b"content-length: %d" % len(body) in head
    assert b" hello hello hello" in body
    assert json.loads(body)["model"] == "m"


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        ("/v1/chat/completions", {"max_tokens": 2}),
        ("/v1/chat/completions", {"max_completion_tokens": 2}),
        ("/v1/completions", {"max_tokens": 2}),
        ("/v1/responses", {"max_output_tokens": 2}),
        ("/v1/messages", {"max_tokens": 2}),
        ("/api/chat", {"options": {"num_predict": 2}}),
        ("/api/generate", {"options": {"num_predict": 2}}),
    ],
)
async def test_the_clients_bound_is_kept(path: str, bound: dict[str, Any]) -> None:
    async with FakeEngine(Faults(tokens=9)) as engine:
        _, body, _ = await read(engine, sent(path, **bound))
    assert plain(body).count(b'" hello"') == 2


async def test_choices_and_usage_come_where_they_were_asked_for() -> None:
    async with FakeEngine(Faults(tokens=2)) as engine:
        asked = sent(PATHS[0], n=3, stream_options={"include_usage": True})
        _, with_usage, _ = await read(engine, asked)
        _, without, _ = await read(engine, sent(PATHS[0]))
    assert plain(with_usage).count(b'" hello"') == 6
    assert b'"completion_tokens":6' in with_usage
    assert b"usage" not in without


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("cut_at", [0, 1, 50])
@pytest.mark.parametrize("path", PATHS + LINES)
async def test_a_cut_is_at_its_byte(path: str, cut_at: int, stream: bool) -> None:
    async with FakeEngine(Faults(tokens=9)) as engine:
        _, sound, _ = await read(engine, sent(path, stream=stream))
        engine.faults = Faults(tokens=9, cut_at=cut_at)
        _, body, end = await read(engine, sent(path, stream=stream))
    assert end == "closed"
    got = plain(body + b"0\r\n") if stream else body
    assert got == (plain(sound) if stream else sound)[:cut_at]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_beyond_the_answers_end_is_none(stream: bool) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine:
        sound = await read(engine, sent(PATHS[0], stream=stream))
        engine.faults = Faults(tokens=2, cut_at=100_000)
        assert await read(engine, sent(PATHS[0], stream=stream)) == sound


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("cut_at", [0, 40])
def test_a_reset_is_a_reset_at_its_byte(run: Callable[..., None], cut_at: int) -> None:
    async def seen() -> None:
        async with FakeEngine(Faults(tokens=9, cut_at=cut_at, reset=True)) as engine:
            _, body, end = await read(engine, sent(PATHS[0]))
        assert (len(plain(body + b"0\r\n")), end) == (cut_at, "reset")

    run(seen())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stall_keeps_the_connection_open(stream: bool) -> None:
    async with FakeEngine(Faults(tokens=9, stall_at=40)) as engine:
        _, body, end = await read(engine, sent(PATHS[0], stream=stream), silence_s=1)
    got = plain(body + b"0\r\n") if stream else body
    assert (len(got), end) == (40, "silent")


@pytest.mark.parametrize("path", PATHS + LINES)
async def test_an_error_status_has_a_json_body(path: str) -> None:
    async with FakeEngine(Faults(status=503)) as engine:
        head, body, _ = await read(engine, sent(path))
    assert head.startswith(b"HTTP/1.1 503 ")
    assert "503" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (Faults(empty=True), b""),
        (Faults(garbage=True), b"<html>\x00\xffthis is no answer</html>"),
    ],
)
async def test_nothing_and_garbage_come_with_200(faults: Faults, expected: bytes) -> None:
    async with FakeEngine(faults) as engine:
        head, body, _ = await read(engine, sent(PATHS[0]))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == expected


@pytest.mark.parametrize("path", PATHS + LINES)
async def test_the_wrong_model_names_itself(path: str) -> None:
    async with FakeEngine(Faults(tokens=1, wrong_model=True)) as engine:
        _, body, _ = await read(engine, sent(path, stream=False))
    assert json.loads(body)["model"] == "another-model"


@pytest.mark.parametrize("path", PATHS[:2])
async def test_an_invented_end_claims_one_without_a_reason(path: str) -> None:
    async with FakeEngine(Faults(tokens=8, invented_done=True)) as engine:
        _, body, _ = await read(engine, sent(path))
    assert 0 < plain(body).count(b'" hello"') < 8
    assert b'"stop"' not in plain(body)
    assert plain(body).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", PATHS[:1] + LINES[:1])
async def test_an_error_event_stands_in_its_place(path: str) -> None:
    async with FakeEngine(Faults(tokens=8, error_event_at=2)) as engine:
        _, body, _ = await read(engine, sent(path))
    before, _, _ = plain(body).partition(b'"the engine failed"')
    assert before.count(b'" hello"') == 2
    assert b" hello" not in plain(body)[len(before) :]


async def test_a_client_that_leaves_is_counted() -> None:
    async with FakeEngine(Faults(tokens=500, rate=50)) as engine:
        _, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        writer.write(sent(PATHS[0]))
        while engine.open_streams == 0:
            await asyncio.sleep(0.01)
        writer.close()
        while not engine.abandoned:
            await asyncio.sleep(0.01)
        assert (engine.open_streams, len(engine.abandoned)) == (0, 1)


async def test_paced_streams_are_whole_and_share_a_clock() -> None:
    async with FakeEngine(Faults(tokens=10, rate=200)) as engine:
        answers = await asyncio.gather(*(read(engine, sent(PATHS[0])) for _ in range(50)))
        assert {plain(body).count(b'" hello"') for _, body, _ in answers} == {10}
        assert engine.open_streams == 0


@pytest.mark.parametrize("path", [*PATHS, *LINES])
async def test_a_whole_answer_takes_the_time_of_its_tokens(path: str) -> None:
    request = sent(path, stream=False, prompt="a", input="a", max_tokens=500)
    async with FakeEngine(Faults(tokens=50, rate=0.5)) as engine:
        assert (await read(engine, request, silence_s=0.2))[2] == "silent"
        engine.faults = Faults(tokens=50, rate=500)
        assert (await read(engine, request))[2] == "whole"
        engine.faults = Faults(tokens=50, rate=0.5)  # of which an embedding has none
        assert (await read(engine, sent("/v1/embeddings", input="a")))[2] == "whole"


async def test_probes_are_spared_unless_told_otherwise() -> None:
    probe = sent(PATHS[0], stream=False).replace(b"host: x", b"host: x\r\nx-request-id: probe")
    async with FakeEngine(Faults(status=500)) as engine:
        assert (await read(engine, probe))[0].startswith(b"HTTP/1.1 200 ")
        engine.faults = Faults(status=500, spare_probes=False)
        assert (await read(engine, probe))[0].startswith(b"HTTP/1.1 500 ")


async def test_faults_change_over_http() -> None:
    def put(body: bytes) -> bytes:
        return (
            b"PUT /fake/faults HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )

    async with FakeEngine() as engine:
        head, _, _ = await read(engine, put(b'{"tokens": 7, "cut_at": 3}'))
        assert head.startswith(b"HTTP/1.1 200 ")
        assert engine.faults == Faults(tokens=7, cut_at=3)
        for wrong in (b"{", b'{"token": 7}', b'{"reset": true}', b"\xff"):
            head, body, _ = await read(engine, put(wrong))
            assert head.startswith(b"HTTP/1.1 400 ")
            assert json.loads(body)["error"]
            if wrong == b'{"token": 7}':
                assert json.loads(body)["error"].startswith(
                    "there is no field 'token'; there are tokens, rate, first_token_s, answer, "
                )
        _, body, _ = await read(engine, b"GET /fake/faults HTTP/1.1\r\nhost: x\r\n\r\n")
        assert Faults(**json.loads(body)) == Faults(tokens=7, cut_at=3)
        assert engine.faults == Faults(tokens=7, cut_at=3)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (Faults(reset=True), "--cut-at BYTE"),
        (Faults(cut_at=1, stall_at=1), "--cut-at and --stall-at"),
        (Faults(garbage=True, empty=True), "--garbage, --empty and --status"),
        (Faults(status=500, empty=True), "--garbage, --empty and --status"),
        (Faults(rate=-1), "must not be negative"),
    ],
)
def test_faults_that_do_not_go_together_are_refused(faults: Faults, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        faults.check()
