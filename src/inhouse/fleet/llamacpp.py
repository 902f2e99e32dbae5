"""The child program: the real llama.cpp server on a model file, on loopback, behind a key.

    stdin:   one JSON line, the `Spec`; then nothing, until its end ends this process
    stdout:  one JSON line: {"url": ...} once the model is loaded, or {"error": "..."}
    stderr:  what llama.cpp says

The parent holds the other end of stdin: when it dies, however it dies, this process ends too.
Ctrl-C goes to the whole group and is left to the parent.
"""

import json
import os
import signal
import sys

import msgspec


class Spec(msgspec.Struct):
    """What to run."""

    path: str
    alias: str
    api_key: str
    embedding: bool
    slots: int
    context_tokens: int  # per slot
    threads: int

    def __repr__(self) -> str:
        return f"Spec({self.path})"


EMBEDDING_BATCH_TOKENS = 512  # a text to embed must fit into one batch; MiniLM takes 512


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = msgspec.json.decode(sys.stdin.readline(), type=Spec)
    try:
        import xllamacpp
    except ImportError:
        _tell(error="the package xllamacpp is not installed: pip install 'inhouse[engine]'")
        sys.exit(1)
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, spec))
    except Exception as error:  # noqa: BLE001 - whatever the library raises is told to the parent
        _tell(error=f"llama.cpp does not load it: {error}")
        sys.exit(1)
    _tell(url=server.listening_address)
    sys.stdin.read()
    os._exit(0)  # nothing of a server is worth a clean-up that may hang


def _parameters(xllamacpp: "object", spec: Spec) -> "object":
    parameters = xllamacpp.CommonParams()  # type: ignore[attr-defined]  # ships no types
    parameters.model.path = spec.path
    parameters.model_alias = {spec.alias}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [spec.api_key]
    parameters.n_parallel = spec.slots
    parameters.n_ctx = spec.context_tokens * spec.slots
    parameters.cpuparams.n_threads = spec.threads
    parameters.cpuparams_batch.n_threads = spec.threads
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = True
    if spec.embedding:
        parameters.embedding = True
        parameters.n_batch = parameters.n_ubatch = EMBEDDING_BATCH_TOKENS
    return parameters


def _tell(**facts: str) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
