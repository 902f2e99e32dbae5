"""The proxies that are measured: how each is started in front of one engine, in one process."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import free_port, running

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".cache" / "bench"
PROXY_CORE = 1
INHOUSE = ROOT / ".venv" / "bin" / "inhouse"


@dataclass(frozen=True, slots=True)
class Started:
    """A proxy that answers."""

    pid: int
    port: int
    key: str


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy. `slow` ones get fewer requests and streams: they cannot carry the rest."""

    name: str
    controls: str
    start: Callable[[int, Path], "contextlib.AbstractContextManager[Started]"]
    slow: bool = False


@contextlib.contextmanager
def nginx(engine: int, work: Path) -> Iterator[Started]:
    port = free_port()
    config = work / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_body_buffer_size 1m;
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 2048; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000;
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
""")
    command = ["/usr/sbin/nginx", "-p", str(work), "-c", str(config)]
    with running(command, port, log=work / "nginx.out", core=PROXY_CORE) as pid:
        yield Started(pid, port, "none")


@contextlib.contextmanager
def litellm(engine: int, work: Path) -> Iterator[Started]:
    port = free_port()
    config = work / "litellm.yaml"
    model = {
        "model_name": "bench",
        "litellm_params": {
            "model": "openai/bench",
            "api_base": f"http://127.0.0.1:{engine}/v1",
            "api_key": "none",
        },
    }
    config.write_text(json.dumps({"model_list": [model]}))
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": "sk-bench"}
    env["PATH"] = f"{PEERS}/litellm/bin:/usr/bin:/bin"
    command = [str(PEERS / "litellm/bin/litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    with running(command, port, log=work / "litellm.out", env=env, core=PROXY_CORE) as pid:
        yield Started(pid, port, "sk-bench")


@contextlib.contextmanager
def vllm_router(engine: int, work: Path) -> Iterator[Started]:
    port, metrics = free_port(), free_port()
    command = [str(PEERS / "vllm-router/bin/vllm-router"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--worker-urls", f"http://127.0.0.1:{engine}"]
    command += ["--policy", "round_robin", "--prometheus-port", str(metrics)]
    with running(command, port, log=work / "vllm-router.out", core=PROXY_CORE) as pid:
        yield Started(pid, port, "none")


@contextlib.contextmanager
def sglang_router(engine: int, work: Path) -> Iterator[Started]:
    port, metrics = free_port(), free_port()
    command = [str(PEERS / "sglang-router/bin/python"), "-m", "sglang_router.launch_router"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--worker-urls", f"http://127.0.0.1:{engine}", "--policy", "round_robin"]
    command += ["--prometheus-port", str(metrics)]
    with running(command, port, log=work / "sglang-router.out", core=PROXY_CORE) as pid:
        yield Started(pid, port, "none")


def settings(work: Path, name: str, engine: int, dlp: str) -> tuple[int, Path]:
    """A free port, and a configuration of Inhouse that listens there, with this `[dlp]`."""
    port, admin = free_port(), free_port()
    config = work / f"{name}.toml"
    config.write_text(f"""
[gateway]
listen = "127.0.0.1:{port}"
max_connections = 16384
[admin]
listen = "127.0.0.1:{admin}"
[limits]
requests_per_minute = 10000000
concurrent_requests = 100000
[dlp]
{dlp}
[models]
bench = {{ engines = ["e"] }}
[engines.e]
kind = "openai"
url = "http://127.0.0.1:{engine}"
concurrency = 4096
""")
    return port, config


def inhouse(
    dlp: str, name: str
) -> Callable[[int, Path], "contextlib.AbstractContextManager[Started]"]:
    """Inhouse with this `[dlp]` section."""

    @contextlib.contextmanager
    def start(engine: int, work: Path) -> Iterator[Started]:
        port, config = settings(work, name, engine, dlp)
        options = ["--config", str(config), "--data", str(work / f"data-{name}"), "--json"]
        made = subprocess.run(
            [str(INHOUSE), "keys", "create", "bench", *options],
            check=True,
            capture_output=True,
            text=True,
        )
        command = [str(INHOUSE), "up", *options]
        with running(command, port, log=work / f"{name}.out", core=PROXY_CORE) as pid:
            yield Started(pid, port, json.loads(made.stdout)["secret"])

    return start


@contextlib.contextmanager
def bare(engine: int, work: Path) -> Iterator[Started]:
    """Inhouse's request path with its controls taken out."""
    port, config = settings(work, "bare", engine, 'prompt = "off"')
    command = [sys.executable, "-m", "bench.bare", "--config", str(config), "--data", str(work)]
    with running(command, port, log=work / "bare.out", core=PROXY_CORE) as pid:
        yield Started(pid, port, "none")


OURS = (
    Peer(
        "inhouse",
        "key, limits, prompt screened, audit log on disk",
        inhouse('prompt = "log"', "inhouse"),
    ),
    Peer(
        "inhouse, answers screened",
        "the same, and no byte of an answer out before it was looked at",
        inhouse('prompt = "block"\nanswer = "block"', "inhouse-screened"),
    ),
    Peer("inhouse, bare", "none: replaced for the measurement, see bench/bare.py", bare),
)
ALL = (
    Peer("nginx", "none (proxy_pass)", nginx),
    Peer("vllm-router", "none", vllm_router),
    Peer("sglang-router", "none", sglang_router),
    *OURS,
    Peer("LiteLLM", "key", litellm, slow=True),
)
