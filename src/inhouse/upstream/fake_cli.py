"""`inhouse fake-engine`: an engine for drills, good or bad as told."""

import json as json_module
from typing import Annotated

import typer


def fake_engine(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one")] = 0,
    model: Annotated[str, typer.Option(help="the model's name in listings")] = "fake",
    tokens: Annotated[int, typer.Option(help="tokens in an answer")] = 64,
    rate: Annotated[float, typer.Option(help="tokens per second and answer; 0: at once")] = 0.0,
    first_token_ms: Annotated[float, typer.Option(help="silence before the first token")] = 0.0,
    answer: Annotated[str, typer.Option(help="the words to say")] = "",
    status: Annotated[int, typer.Option(min=200, max=599, help="answer with this status")] = 200,
    cut_at: Annotated[int, typer.Option(help="close the connection at this byte")] = -1,
    reset: Annotated[bool, typer.Option("--reset", help="cut by a reset")] = False,
    stall_at: Annotated[int, typer.Option(help="go silent at this byte")] = -1,
    corrupt_at: Annotated[int, typer.Option(help="say NUL in place of this byte")] = -1,
    garbage: Annotated[bool, typer.Option("--garbage", help="answer with no JSON")] = False,
    empty: Annotated[bool, typer.Option("--empty", help="answer 200 with nothing")] = False,
    wrong_model: Annotated[
        bool, typer.Option("--wrong-model", help="answer as another model")
    ] = False,
    invented_done: Annotated[
        bool, typer.Option("--invented-done", help="break off, and claim the end")
    ] = False,
    error_event_at: Annotated[int, typer.Option(help="an error in place of this event")] = -1,
    fail_probes: Annotated[
        bool, typer.Option("--fail-probes", help="a gateway's probes fail too")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON line")] = False,
) -> None:
    """Run a fake engine that speaks OpenAI, Anthropic and Ollama, and fails as told.

    While it runs, PUT /fake/faults with a JSON object changes what it does; GET tells it.
    """
    from inhouse.upstream.fake_engine import FakeEngine, Faults

    faults = Faults(
        tokens=tokens,
        rate=rate,
        first_token_s=first_token_ms / 1000,
        answer=answer,
        status=status,
        cut_at=cut_at,
        reset=reset,
        stall_at=stall_at,
        corrupt_at=corrupt_at,
        garbage=garbage,
        empty=empty,
        wrong_model=wrong_model,
        invented_done=invented_done,
        error_event_at=error_event_at,
        spare_probes=not fail_probes,
    )
    faults.check()
    _run(FakeEngine(faults, model=model, host=host, port=port), json)


def _run(engine: "object", json: bool) -> None:
    import asyncio
    import signal

    import uvloop

    from inhouse.errors import UsageError
    from inhouse.upstream.fake_engine import FakeEngine

    assert isinstance(engine, FakeEngine)
    engine.keep_requests = False

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await engine.__aenter__()
        except OSError as error:
            raise UsageError(f"the fake engine cannot listen: {error.strerror}") from error
        told = json_module.dumps({"url": engine.url}) if json else f"fake engine on {engine.url}"
        print(told, flush=True)
        await stop.wait()
        await engine.__aexit__()

    uvloop.run(serve())
