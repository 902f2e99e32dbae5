"""Starting, stopping, being killed, and what does not start: as the person in front has it."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Running, embedded, environment, started

MESSAGE = [{"role": "user", "content": "Count to one hundred."}]


def ask(running: Running, body: dict[str, Any], path: str = "/v1/chat/completions") -> Any:
    headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(running.url + path, json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=60)


def command(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "inhouse", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
        **options,
    )


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def until(condition: Any, what: str, within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def records(data: Path) -> list[dict[str, Any]]:
    lines = b"".join(path.read_bytes() for path in sorted((data / "audit").glob("0*.jsonl")))
    return [json.loads(line)["r"] for line in lines.splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_ctrl_c_stops_everything_and_the_second_start_keeps_the_key(data: Path) -> None:
    with started(data, embedded()) as first:
        engines = children(first.process.pid)
        assert len(engines) == 2
        assert first.stop() == 0
        assert all(gone(pid) for pid in engines)
    with started(data, embedded()) as second:
        assert second.key is None
        again = Running(second.url, second.admin_url, first.key, data, second.process)
        with ask(again, {"model": "chat", "messages": MESSAGE, "max_tokens": 2}) as answer:
            assert answer.status == 200
        assert second.stop() == 0
    kinds = [record["kind"] for record in records(data)]
    assert kinds[-3:] == ["intent", "outcome", "stopped"]
    assert command("audit", "verify", "--data", str(data)).returncode == 0


def test_a_killed_gateway_leaves_no_engine_and_no_open_request(data: Path) -> None:
    with started(data, embedded()) as running:
        engines = children(running.process.pid)
        body = {"model": "chat", "messages": MESSAGE, "max_tokens": 400, "stream": True}
        with ask(running, body) as answer:
            answer.readline()
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
        until(lambda: all(gone(pid) for pid in engines), "an engine outlived its gateway")
    assert records(data)[-1]["kind"] == "intent"
    with started(data, embedded()) as again:
        again.stop()
    assert [r["outcome"] for r in records(data) if r["kind"] == "outcome"] == ["interrupted"]
    assert command("audit", "verify", "--data", str(data)).returncode == 0


def test_a_killed_engine_is_started_again(data: Path) -> None:
    with started(data, embedded()) as running:
        os.kill(children(running.process.pid)[0], signal.SIGKILL)
        os.kill(children(running.process.pid)[-1], signal.SIGKILL)

        refusals: list[tuple[int, bool]] = []

        def answers() -> bool:
            try:
                with ask(running, {"model": "chat", "messages": MESSAGE, "max_tokens": 2}):
                    return True
            except urllib.error.HTTPError as error:
                refusals.append((error.code, bool(error.headers["retry-after"])))
                return False

        until(lambda: not answers(), "the engine's end was not noticed")
        until(answers, "the engine did not come back")
        assert set(refusals) <= {(502, True), (503, True)}


def test_a_second_up_on_the_same_data_is_refused(data: Path) -> None:
    with started(data, embedded()) as running:
        second = command("up", "--data", str(data), "--config", str(data.with_suffix(".toml")))
    assert second.returncode == 2
    assert second.stderr.splitlines() == [
        f"inhouse: {data} is in use by another 'inhouse up' (process {running.process.pid}); "
        "stop it, or choose another directory with --data"
    ]


def test_a_second_up_is_refused_though_the_lock_was_taken_away(data: Path) -> None:
    with started(data, embedded()):
        (data / "lock").unlink()
        second = command("up", "--data", str(data), "--config", str(data.with_suffix(".toml")))
    assert second.returncode == 2
    assert "is in use by another 'inhouse up' (process unknown)" in second.stderr


@pytest.fixture
def sighup_heeded() -> Iterator[None]:
    """Whoever runs the tests may ignore SIGHUP (nohup), and what they start would, too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("sighup_heeded")
def test_a_closed_terminal_ends_it_as_sigterm_does(data: Path) -> None:
    with started(data, embedded()) as running:
        running.process.send_signal(signal.SIGHUP)
        running.process.send_signal(signal.SIGHUP)  # the shell's, after the kernel's
        assert running.process.wait(30) == 0
    assert records(data)[-1]["kind"] == "stopped"


def test_an_engine_does_not_see_what_the_configuration_calls_a_secret(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_ANOTHER_ENGINE", "s3cret")
    monkeypatch.setenv("NOT_A_SECRET", "seen")
    other = '[engines.other]\nurl = "http://127.0.0.1:1"\n'
    other += 'api_key = { env = "TOKEN_OF_ANOTHER_ENGINE" }\n'
    with started(data, other + embedded()) as running:
        for pid in children(running.process.pid):
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"NOT_A_SECRET=seen" in environ
            assert b"TOKEN_OF_ANOTHER_ENGINE" not in environ


def test_a_greeting_that_nobody_reads_is_dropped(data: Path) -> None:
    config = data.with_suffix(".toml")
    listen = 'listen = "127.0.0.1:0"\n'
    config.write_text(f"[gateway]\n{listen}[admin]\n{listen}{embedded()}")
    up = [sys.executable, "-m", "inhouse", "up", "--data", str(data), "--config", str(config)]
    process = subprocess.Popen(
        up,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("Inhouse ")
    process.stdout.close()
    said = ""
    while "nobody has seen the first key" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    stamp = r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING standard output"
    assert re.search(stamp, said, re.MULTILINE)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 0
    assert "Traceback" not in said + rest


def test_closed_descriptors_do_not_become_files_of_ours(data: Path) -> None:
    config = data.with_suffix(".toml")
    listen = 'listen = "127.0.0.1:0"\n'
    config.write_text(f"[gateway]\n{listen}[admin]\n{listen}{embedded()}")
    up = [sys.executable, "-m", "inhouse", "up", "--data", str(data), "--config", str(config)]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *up], env=environment())
    try:
        until((data / "inhouse.db").exists, "it did not start")
        files = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        assert files == ["/dev/null"] * 3
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_port_in_use_is_named(data: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = tmp_path / "inhouse.toml"
        config.write_text(f'[gateway]\nlisten = "{address}"\n{embedded()}')
        up = command("up", "--data", str(data), "--config", str(config))
    assert up.returncode == 2
    assert up.stderr.splitlines() == [
        f"inhouse: gateway.listen {address} cannot be opened: Address already in use; "
        "stop what uses it, or choose another address"
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a GGUF file: it does not begin with 'GGUF'"),
        (b"hello world", "is not a GGUF file: it does not begin with 'GGUF'"),
        (b"GGUF\x03\x00\x00\x00", "is broken: its header ends early or makes no sense"),
    ],
)
def test_a_broken_model_file_is_named(
    data: Path, tmp_path: Path, content: bytes, sentence: str
) -> None:
    model, config = tmp_path / "broken.gguf", tmp_path / "inhouse.toml"
    model.write_bytes(content)
    config.write_text(f'models.chat = "{model}"')
    up = command("up", "--data", str(data), "--config", str(config))
    assert up.returncode == 2
    assert up.stderr.splitlines() == [
        f'models.chat = "{model}": {sentence}',
        "1 problem in the configuration",
    ]


def test_help_names_every_verb() -> None:
    text = command("--help").stdout
    for verb in ("up", "check", "keys", "audit", "fake-engine"):
        assert re.search(rf"^\s+{verb} ", text, re.MULTILINE)


@pytest.mark.parametrize("option", ["--first-key", "--no-first-key"])
def test_up_says_what_a_person_needs(data: Path, tmp_path: Path, option: str) -> None:
    """With the first key; or, where a journal keeps what is printed, without."""
    seen = option == "--first-key"
    ours, theirs = pty.openpty() if seen else os.pipe()
    config = tmp_path / "inhouse.toml"
    config.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n' + embedded()
    )
    command_line = [sys.executable, "-m", "inhouse", "up", option, "--data", str(data)]
    with subprocess.Popen(
        [*command_line, "--config", str(config)],
        stdout=theirs,
        env=environment(),
    ) as process:
        os.close(theirs)
        said = ""
        while "Ctrl-C" not in said:
            part = os.read(ours, 10_000)
            assert part, said
            said += part.decode()
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while part := os.read(ours, 10_000):
                said += part.decode()
    os.close(ours)
    assert process.returncode == 0
    assert said.splitlines()[-1] == "Stopped."
    for words in ("Base URL", "curl http://127.0.0.1:", "OpenAI(", "Stopping"):
        assert words in said
    assert ("API key    ihk_" in said) is seen
    assert ("API key    none yet; make one: inhouse keys create NAME" in said) is not seen
    assert ("Bearer YOUR-KEY" in said) is not seen


def test_a_start_that_is_refused_ends_in_the_log_as_it_should(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "inhouse.toml"
    (data / "tls").mkdir(mode=0o700, parents=True)
    (data / "tls" / "ca.pem").write_text("half of an authority")
    config.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'
        '[tls]\nself_signed = true\n[models]\nm = "ollama://127.0.0.1:1/m"\n'
    )
    up = command("up", "--data", str(data), "--config", str(config))
    assert up.returncode == 2
    assert "ca.key is missing" in up.stderr.splitlines()[-1]
    assert [record["kind"] for record in records(data)] == ["started", "stopped"]


def test_a_log_elsewhere_has_one_gateway_too(tmp_path: Path) -> None:
    toml = f'[audit]\ndirectory = "{tmp_path / "log"}"\n'
    with started(tmp_path / "one", f'{toml}[models]\nm = "ollama://127.0.0.1:1/m"\n'):
        config, data = str(tmp_path / "one.toml"), str(tmp_path / "two")
        second = command("up", "--data", data, "--config", config)
    assert second.returncode == 2
    assert second.stderr == (
        f"inhouse: the audit log in {tmp_path / 'log'} is in use by another 'inhouse up'; stop it, "
        "or choose another audit.directory\n"
    )


def test_a_key_works_and_ends_when_the_command_says_so(data: Path) -> None:
    with started(data, embedded()) as running:
        options = ("--data", str(data), "--config", str(data.with_suffix(".toml")))
        body = {"model": "chat", "messages": MESSAGE, "max_tokens": 2}
        made = command("keys", "create", "script", *options)
        secret = made.stdout.strip()
        mine = Running(running.url, running.admin_url, secret, data, running.process)
        with ask(mine, body) as answer:
            assert answer.status == 200
        assert command("keys", "revoke", "script", *options).returncode == 0
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(mine, body)
        with refused.value:
            assert refused.value.code == 401
