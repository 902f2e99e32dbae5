"""The client's side of a measurement: many connections, every byte of every answer checked.

    python -m bench.load PORT KEY CONNECTIONS REQUESTS whole|stream TOKENS PROMPT [ENGINE_PORT]

PROMPT is the prompt's size in bytes.

Prints one JSON object. With ENGINE_PORT, the engine is asked first, and `unequal` counts the
answers whose body is not byte for byte what it said; 0 without. `wrong` is looser, for proxies
that write answers anew: a stream is right where it holds as many content events as tokens and ends
with `[DONE]`, a whole answer where it is one JSON object with the words that were asked for.
"""

import asyncio
import json
import sys
import time

import httptools
import uvloop

WORDS = "the quick brown fox "


class Client(asyncio.Protocol):
    """One connection, one request after another."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self._began = 0.0
        self._first = False
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a TCP client's transport is one
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost += self._began > 0
        self._run.ended(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if self._first:
            self._first = False
            self._run.first_s.append(time.perf_counter() - self._began)
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._run.whole_s.append(time.perf_counter() - self._began)
        self._began = 0.0
        status = self._parser.get_status_code()
        body = b"".join(self._body)
        if status != 200 or not self._run.right(body):
            self._run.wrong += 1
            self._run.example = f"{status} {body[-300:]!r}"
        self._run.last = body
        self._run.unequal += body != (self._run.reference or body)
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if not self._run.take():
            self._transport.close()
            return
        self._body = []
        self._first = True
        self._parser = httptools.HttpResponseParser(self)
        self._began = time.perf_counter()
        self._transport.write(self._run.request)


class Run:
    """One load: what is sent, what is right, and what came."""

    def __init__(
        self, key: str, requests: int, tokens: int, prompt_bytes: int, *, stream: bool
    ) -> None:
        words = WORDS * (prompt_bytes // len(WORDS))
        body = {
            "model": "bench",
            "messages": [{"role": "user", "content": words}],
            "max_tokens": tokens,
            "stream": stream,
        }
        sent = json.dumps(body).encode()
        self.request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(sent)}\r\n\r\n"
        ).encode() + sent
        self.first_s: list[float] = []
        self.whole_s: list[float] = []
        self.wrong = 0
        self.lost = 0
        self.unequal = 0
        self.reference: bytes | None = None  # what the engine itself answers
        self.last = b""
        self.example = ""
        self._left = requests
        self._tokens = tokens
        self._stream = stream
        self._open: set[Client] = set()
        self._done = asyncio.Event()

    def right(self, body: bytes) -> bool:
        if self._stream:
            words = body.count(b'"content":" hello"') + body.count(b'"content": " hello"')
            return words == self._tokens and body.rstrip().endswith(b"[DONE]")
        return body.count(b" hello") == self._tokens and body.rstrip().endswith(b"}")

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def ended(self, client: Client) -> None:
        self._open.discard(client)
        if not self._open:
            self._done.set()

    async def go(self, port: int, connections: int) -> float:
        loop = asyncio.get_running_loop()

        def made() -> Client:
            client = Client(self)
            self._open.add(client)
            return client

        began = time.perf_counter()
        await asyncio.gather(
            *(loop.create_connection(made, "127.0.0.1", port) for _ in range(connections))
        )
        await asyncio.wait_for(self._done.wait(), 300)
        return time.perf_counter() - began


def quantile(values: list[float], part: float) -> float:
    """In milliseconds; 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0


def main() -> None:
    port, key, connections, requests, mode, tokens, prompt, *engine = sys.argv[1:]

    async def measured() -> dict[str, object]:
        sizes = int(tokens), int(prompt)
        run = Run(key, int(requests), *sizes, stream=mode == "stream")
        if engine:
            asked = Run("none", 1, *sizes, stream=mode == "stream")
            await asked.go(int(engine[0]), 1)
            run.reference = asked.last
        took_s = await run.go(int(port), int(connections))
        return {
            "answers": len(run.whole_s),
            "wrong": run.wrong + run.lost,
            "unequal": run.unequal,
            "example": run.example,
            "took_s": round(took_s, 3),
            "first_p50_ms": round(quantile(run.first_s, 0.5), 3),
            "first_p99_ms": round(quantile(run.first_s, 0.99), 3),
        }

    print(json.dumps(uvloop.run(measured())))


if __name__ == "__main__":
    main()
