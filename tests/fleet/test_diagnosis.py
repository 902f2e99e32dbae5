"""One sentence out of what an engine left behind."""

from pathlib import Path

import pytest

from inhouse.config.sources import builtin_directory
from inhouse.fleet.diagnosis import how, why

UNKNOWN = [
    "0.00.042.587 E llama_model_load: error loading model: unknown model architecture: 'xlama'",
    "0.00.042.633 E llama_model_load_from_file_impl: failed to load model",
    "0.00.102.658 E srv          init: exiting due to model loading error",
]
MEMORY = [
    "0.09.989.452 E llama_init_from_model: failed to initialize the context: std::bad_alloc",
    "0.11.990.432 E srv          init: exiting due to model loading error",
]


@pytest.mark.parametrize(
    ("ending", "lines", "sentence"),
    [
        ("", UNKNOWN, "the engine says: unknown model architecture: 'xlama'"),
        ("", MEMORY, "the engine says: not enough memory for its contexts"),
        ("it ended by SIGABRT", [], "it ended by SIGABRT"),
        ("", [], "no reason is known"),
        ("gone", ["0.1 E srv  a: b", "later"], "gone; the engine says: srv  a: b"),
        ("gone", ["first", "Error: too large"], "gone; the engine says: Error: too large"),
    ],
)  # fmt: skip
def test_a_whole_file(ending: str, lines: list[str], sentence: str) -> None:
    assert sentence == why(builtin_directory() / "all-minilm-l6-v2.gguf", ending, lines)


def test_the_file_is_the_reason_before_all_others(tmp_path: Path) -> None:
    sentence = why(tmp_path / "gone.gguf", "it took longer than 1 s", UNKNOWN)
    assert sentence == "it cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "with status 0"), (3, "with status 3"), (-6, "by SIGABRT"), (-9, "by SIGKILL (")],
)
def test_how_a_process_ended(status: int, words: str) -> None:
    assert how(status).startswith(words)
