"""The embedded engine with real weights: started, asked, killed, restarted, stopped."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inhouse.domain import Task
from inhouse.errors import EngineError
from inhouse.fleet.child import COMMAND
from inhouse.fleet.engine import EngineProcess, pause_s

START_S = 60.0
SECRET = "xylophone-4711"
Begin = Callable[..., EngineProcess]


def runs(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def exists(pid: int | None) -> bool:
    """Whether a process is there at all, as a zombie too: not reaped."""
    return Path(f"/proc/{pid}").exists()


def log_of(engine: EngineProcess) -> Path:
    return engine._log._path


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does; the suite's own time limit is the bound."""
    while not condition():  # no event tells of another process
        await asyncio.sleep(0.005)


async def ask(url: str, engine: EngineProcess, path: str, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {engine.api_key.reveal()}"}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.post(url + path, json={"model": "small", **body}, headers=headers)


async def answers(url: str, engine: EngineProcess) -> bool:
    messages = [{"role": "user", "content": "Say yes."}]
    response = await ask(url, engine, "/v1/chat/completions", max_tokens=1, messages=messages)
    return response.status_code == 200 and response.json()["usage"]["completion_tokens"] == 1


async def test_a_started_engine_answers_under_its_alias_behind_its_key(
    make_engine: Begin, chat_model: Path
) -> None:
    engine = make_engine(chat_model)
    url = await engine.start(START_S)
    assert url.startswith("http://127.0.0.1:")
    assert await answers(url, engine)
    async with httpx.AsyncClient(trust_env=False) as client:
        head = {"authorization": f"Bearer {engine.api_key.reveal()}"}
        models = (await client.get(url + "/v1/models", headers=head)).json()["data"]
        refused = [await client.get(url + path) for path in ("/slots", "/metrics", "/props")]
        metrics = await client.get(url + "/metrics", headers=head)
        page = await client.get(url + "/", headers={**head, "accept-encoding": "gzip"})
    assert [model["id"] for model in models] == ["small"]
    assert [response.status_code for response in refused] == [401, 401, 401]
    assert "llamacpp:requests_processing" in metrics.text
    assert page.status_code == 404


async def test_embeddings_and_a_text_that_is_too_long_is_refused_not_failed(
    make_engine: Begin, embedding_model: Path
) -> None:
    engine = make_engine(embedding_model, Task.EMBEDDING)
    url = await engine.start(START_S)
    response = await ask(url, engine, "/v1/embeddings", input=["cat", "kitten"])
    assert [len(item["embedding"]) for item in response.json()["data"]] == [384, 384]
    for words in (600, 20_000):
        response = await ask(url, engine, "/v1/embeddings", input="cat " * words)
        assert response.status_code == 400, words


async def test_the_log_never_quotes_a_request(make_engine: Begin, chat_model: Path) -> None:
    engine = make_engine(chat_model)
    url = await engine.start(START_S)
    messages = [{"role": "user", "content": SECRET}]
    bad: list[dict[str, Any]] = [
        {"grammar": f'root ::= {SECRET} "'},
        {"tools": SECRET},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": SECRET}}}},
        {"messages": [{"role": SECRET, "content": {SECRET: 1}}]},
        {"max_tokens": 4, "stop": [SECRET]},
        {"messages": [{"role": "user", "content": SECRET * 2000}]},
    ]
    for fields in bad:
        await ask(url, engine, "/v1/chat/completions", **{"messages": messages, **fields})
    await ask(url, engine, "/v1/" + SECRET)
    key = engine.api_key.reveal()
    await engine.stop(5.0)
    text = log_of(engine).read_text()
    assert "serving" in text
    assert "withheld" in text  # the grammar was quoted by the engine, and kept out by us
    assert SECRET not in text
    assert key not in text
    assert stat.S_IMODE(log_of(engine).stat().st_mode) == 0o600


async def test_a_killed_engine_is_restarted_at_a_new_address_with_a_new_key(
    make_engine: Begin, chat_model: Path
) -> None:
    engine = make_engine(chat_model)
    await engine.start(START_S)
    key = engine.api_key
    events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    engine.watch(
        lambda reason: events.put_nowait(("down", reason)),
        lambda url: events.put_nowait(("up", url)),
    )
    for number, name in ((signal.SIGKILL, "SIGKILL"), (signal.SIGABRT, "SIGABRT")):
        pid = engine.pid
        assert pid is not None
        os.kill(pid, number)
        what, reason = await events.get()
        assert what == "down"
        assert name in reason
        what, url = await events.get()
        assert what == "up"
        assert await answers(url, engine)
        assert engine.pid != pid
        assert engine.api_key != key


async def test_restarts_go_on_while_the_model_cannot_be_loaded(
    make_engine: Begin, chat_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.gguf"
    model.symlink_to(chat_model)
    engine = make_engine(model)
    await engine.start(START_S)
    back: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    gone = asyncio.Event()
    engine.watch(lambda _: gone.set(), back.set_result)
    model.unlink()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    await gone.wait()
    await until(lambda: log_of(engine).read_text().count("ended with status 1") >= 2)
    assert not back.done()
    model.symlink_to(chat_model)
    assert await answers(await back, engine)


async def test_stop_leaves_no_process(make_engine: Begin, chat_model: Path) -> None:
    engine = make_engine(chat_model)
    await engine.start(START_S)
    engine.watch(pytest.fail, pytest.fail)
    pid = engine.pid
    assert pid is not None
    assert runs(pid)
    await engine.stop(5.0)
    assert not exists(pid)
    assert engine.pid is None
    await engine.stop(5.0)


async def test_an_engine_that_does_not_react_is_killed(
    make_engine: Begin, chat_model: Path
) -> None:
    engine = make_engine(chat_model)
    await engine.start(START_S)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    pid = engine.pid
    await engine.stop(0.1)
    assert not exists(pid)


async def test_stop_in_the_middle_of_a_start(make_engine: Begin, chat_model: Path) -> None:
    engine = make_engine(chat_model)
    starting = asyncio.create_task(engine.start(START_S))
    await until(lambda: engine.pid is not None)
    pid = engine.pid
    await engine.stop(0.0)
    with pytest.raises(EngineError):
        await starting
    assert not exists(pid)


async def test_a_cancelled_start_leaves_no_process(make_engine: Begin, chat_model: Path) -> None:
    engine = make_engine(chat_model)
    starting = asyncio.create_task(engine.start(START_S))
    await until(lambda: engine.pid is not None)
    pid = engine.pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not exists(pid)


async def test_ctrl_c_is_left_to_the_parent(make_engine: Begin, chat_model: Path) -> None:
    engine = make_engine(chat_model)
    url = await engine.start(START_S)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGINT)
    assert await answers(url, engine)


async def test_a_start_that_takes_too_long(make_engine: Begin, chat_model: Path) -> None:
    engine = make_engine(chat_model)
    with pytest.raises(EngineError, match=r"small@embedded.*took longer than 0\.001 s"):
        await engine.start(0.001)
    assert engine.pid is None


PARENT = """
import asyncio, json, sys
from pathlib import Path
from inhouse.config.schema import Engine
from inhouse.domain import EngineKind, Task
from inhouse.fleet.child import COMMAND
from inhouse.fleet.engine import EngineProcess

async def main(model, log, load):
    engine = EngineProcess(
        Engine(name="m", kind=EngineKind.EMBEDDED, model="m", path=Path(model), threads=1,
               concurrency=1, context_tokens=512),
        Task.CHAT, Path(log))
    start = asyncio.create_task(engine.start(60))
    while engine.pid is None:
        await asyncio.sleep(0.001)
    if load == "loaded":
        await start
    print(engine.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("when", ["loading", "loaded"])
def test_a_killed_parent_leaves_no_orphan(chat_model: Path, tmp_path: Path, when: str) -> None:
    command = [sys.executable, "-c", PARENT, str(chat_model), str(tmp_path / "x.log"), when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    asyncio.run(until(lambda: not runs(pid)))


def spec_of(path: Path) -> bytes:
    spec = {"path": str(path), "alias": "x", "task": "chat", "slots": 1}
    spec |= {"context_tokens": 512, "threads": 1, "api_key": "k"}
    return json.dumps(spec).encode() + b"\n"


def test_a_parent_that_is_gone_when_the_model_is_loaded(chat_model: Path) -> None:
    """The address cannot be told to anyone. One time in fifty, the server's destructor hung."""
    child = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.close()
    child.stdin.write(spec_of(chat_model))
    child.stdin.close()
    assert child.wait(60) == 0


def cut(model: Path, target: Path, size: int) -> Path:
    with model.open("rb") as source:
        target.write_bytes(source.read(size))
    return target


@pytest.mark.parametrize("size", [0, 3, 4, 24, 1_000, 1_000_000, 5_000_000, 98_362_431])
async def test_a_model_cut_short(
    make_engine: Begin, chat_model: Path, tmp_path: Path, size: int
) -> None:
    model = cut(chat_model, tmp_path / "cut.gguf", size)
    engine = make_engine(model)
    with pytest.raises(EngineError) as failed:
        await engine.start(START_S)
    expected = {0: "is not a GGUF file", 3: "is not a GGUF file", 4: "is broken", 24: "is broken"}
    assert str(failed.value).startswith(f"engine 'small@embedded' cannot load {model}: it is ")
    assert expected.get(size, "is ") in str(failed.value)
    assert "\n" not in str(failed.value)
    assert engine.pid is None


def patched(model: Path, target: Path, old: bytes, new: bytes) -> Path:
    data = bytearray(model.read_bytes())
    at = data.index(old, data.index(b"general.architecture"))
    data[at : at + len(new)] = new
    target.write_bytes(data)
    return target


async def test_models_that_no_file_check_finds_wrong(
    make_engine: Begin, chat_model: Path, tmp_path: Path
) -> None:
    model = patched(chat_model, tmp_path / "other.gguf", b"llama", b"xlama")
    with pytest.raises(EngineError, match="the engine says: unknown model architecture: 'xlama'"):
        await make_engine(model).start(START_S)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nonexistent/m.gguf", "it cannot be read: No such file or directory"),
        ("/proc", "it cannot be read: Is a directory"),
        ("/etc/passwd", "it is not a GGUF file"),
    ],
)
async def test_files_that_are_no_models(make_engine: Begin, path: str, sentence: str) -> None:
    with pytest.raises(EngineError, match=f"cannot load {path}: {sentence}"):
        await make_engine(Path(path)).start(START_S)


async def test_without_the_engine_package_the_sentence_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['xllamacpp'] = None\n"
        "from inhouse.fleet.llamacpp import main; main()"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=-1, stdout=-1, stderr=-1
    )
    out, _ = await child.communicate(spec_of(Path("x")))
    assert "pip install 'inhouse[engine]'" in json.loads(out)["error"]
    assert child.returncode == 1


@pytest.mark.parametrize(
    ("crashes", "pause"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (100_000, 30.0)]
)
def test_pauses_between_restarts(crashes: int, pause: float) -> None:
    assert pause_s(crashes) == pause
