"""Nothing leaves the machine: `inhouse up` in a network of loopback alone, every system call
that names an address written down."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import embedded, environment

INSIDE = """
import json, signal, subprocess, sys, urllib.request

trace, config, data = sys.argv[1:]
up = subprocess.Popen(
    ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", trace,
     sys.executable, "-m", "inhouse", "up", "--json", "--config", config, "--data", data],
    stdout=subprocess.PIPE, text=True)
told = json.loads(up.stdout.readline())

def ask(path, body):
    headers = {"Authorization": "Bearer " + told["key"], "Content-Type": "application/json"}
    request = urllib.request.Request(told["url"] + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)

message = [{"role": "user", "content": "Name a colour."}]
chat = ask("/v1/chat/completions", {"model": "chat", "messages": message, "max_tokens": 4})
embedding = ask("/v1/embeddings", {"model": "embed", "input": "cat"})
subprocess.run(["pkill", "-INT", "-P", str(up.pid)], check=True)
up.wait(60)
print(json.dumps({"chat": chat["object"], "embedding": embedding["object"]}))
"""

ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
LOOPBACK = ("127.", "::1")


def addresses(trace: str) -> set[str]:
    return {first or second for first, second in ADDRESS.findall(trace)}


def test_the_pattern_finds_what_it_is_for() -> None:
    trace = (
        '12 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16)'
        '\\n13 sendto(3, "", 0, 0, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=0, '
        'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28)'
    )
    assert addresses(trace) == {"10.0.0.1", "2001:db8::1"}


def test_up_starts_answers_and_connects_to_loopback_alone(tmp_path: Path) -> None:
    config, trace = tmp_path / "inhouse.toml", tmp_path / "trace"
    listen = 'listen = "127.0.0.1:0"'
    config.write_text(f"[gateway]\n{listen}\n[admin]\n{listen}\n{embedded()}")
    script = tmp_path / "inside.py"
    script.write_text(INSIDE)
    inside = [sys.executable, str(script), str(trace), str(config), str(tmp_path / "data")]
    shell = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-c", shell, "sh", *inside],
        env=environment(PYTHONPATH=":".join(sys.path)),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"chat": "chat.completion"' in done.stdout
    assert '"embedding": "list"' in done.stdout
    calls = trace.read_text()
    assert "connect(" in calls, "the trace holds no connection at all: it saw nothing"
    outside = {each for each in addresses(calls) if not each.startswith(LOOPBACK)}
    assert outside == set()
