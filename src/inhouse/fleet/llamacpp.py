"""The child program: the real llama.cpp server on one model file, on loopback, behind a key.

    stdin:   one JSON line, the Spec; then nothing, until its end ends this process
    stdout:  one JSON line, {"url": ...} once the model is loaded, or {"error": ...}
    stderr:  what llama.cpp says

The parent holds the other end of stdin: when it dies, however it dies, this process ends. While
a model is loaded no Python code runs here (the library holds the interpreter's lock), so the
kernel is asked to end this process with its parent as well. Ctrl-C goes to the whole process
group and is the parent's to act on.

What xllamacpp 2026.10 does with a model that it cannot load, tried: a file that is missing, a
directory, no GGUF, cut short at any length, of an unknown architecture, or with a broken header
raises RuntimeError ("Failed to init server"), and the cause is a line on stderr; so does a
context that memory cannot hold (std::bad_alloc). Broken tensors load, and the answers are noise.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ERRORS_ONLY = 1  # from 2 on (warnings), a refused request is quoted on stderr
PROMPT_CACHE_MIB = 256  # of host memory for old prompts; llama.cpp's default is 8192
WHOLE_TEXTS_TOKENS = 65_536  # what is too long is then refused as such (400), not failed (500)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run. `context_tokens` is per slot; `task` is a value of domain.Task."""

    path: str
    alias: str
    task: str
    slots: int
    context_tokens: int
    threads: int
    api_key: str = field(repr=False)


def main() -> None:
    """Load, tell the parent where, serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold prompts
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing but the one line goes there
    if line := sys.stdin.readline():
        _run(Spec(**json.loads(line)), answer)


def _run(spec: Spec, answer: int) -> NoReturn:
    server, told = _serve(spec)
    try:
        os.write(answer, json.dumps(told).encode() + b"\n")
        if server is not None:
            sys.stdin.read()
    finally:
        # While `server` still lives: its destructor waits for ever for a loop that has not begun
        os._exit(0 if server is not None else 1)


def _serve(spec: Spec) -> tuple[object, dict[str, str]]:
    try:
        _load_openmp()
        import xllamacpp
    except ModuleNotFoundError:
        sentence = "the package xllamacpp is not installed; run: pip install 'inhouse[engine]'"
        return None, {"error": sentence}
    except (ImportError, OSError) as error:
        sentence = f"xllamacpp cannot be imported ({error}); on Debian: apt-get install libgomp1"
        return None, {"error": sentence}
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, spec))
    except RuntimeError:
        return None, {"error": ""}  # "Failed to init server", always; the cause is on stderr
    return server, {"url": server.listening_address}


def _load_openmp() -> None:
    """Load the OpenMP that `make up` puts beside us where the system has none.

    The library's own name is then known to the loader, and xllamacpp's need of it is met.
    """
    ours = Path(sys.prefix) / "lib" / "libgomp.so.1"
    if ours.exists():
        ctypes.CDLL(str(ours))


def _parameters(xllamacpp: Any, spec: Spec) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = spec.path
    parameters.model_alias = {spec.alias}
    _listen(parameters, spec)
    parameters.verbosity = ERRORS_ONLY
    parameters.n_parallel = spec.slots
    parameters.n_ctx = spec.context_tokens * spec.slots  # llama.cpp divides it among the slots
    parameters.cpuparams.n_threads = spec.threads
    parameters.cpuparams_batch.n_threads = spec.threads
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    if spec.task == "embedding":
        parameters.embedding = True
        parameters.n_batch = parameters.n_ubatch = WHOLE_TEXTS_TOKENS
    return parameters


def _listen(parameters: Any, spec: Spec) -> None:
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [spec.api_key]
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = True
    parameters.sse_ping_interval = -1  # a stalled stream must look stalled


if __name__ == "__main__":
    main()
