"""Models have the date of their file, or of this process."""

import os
import time
from pathlib import Path

from inhouse.config.schema import Engine, Model
from inhouse.domain import EngineKind, Task
from inhouse.gateway.since import since, stamp


def model(path: Path | None) -> Model:
    kind = EngineKind.VLLM if path is None else EngineKind.EMBEDDED
    engine = Engine(name="m@e", kind=kind, model="m", path=path)
    return Model(name="m", task=Task.CHAT, engines=(engine,), max_output_tokens=1)


def test_a_model_is_as_old_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.touch()
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert since(model(file)) == 1_700_000_000
    assert stamp(since(model(file))) == "2023-11-14T22:13:20Z"


def test_one_that_runs_elsewhere_is_there_since_this_process_is(tmp_path: Path) -> None:
    began = since(model(None))
    assert time.time() - 3600 < began <= time.time()
    assert since(model(tmp_path / "gone.gguf")) == began
