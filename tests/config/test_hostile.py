"""Configurations and model files that are out to hurt: one sentence each, no secret, no wait."""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import environment

from inhouse.config import gguf
from inhouse.config.load import load_config
from inhouse.config.place import SqliteFile
from inhouse.errors import ConfigurationError, InhouseError
from inhouse.fleet.child import _environment

MODELS = Path(sys.prefix) / "share" / "inhouse" / "models"
U32, TEXT, LIST = 4, 8, 9


def told(tmp_path: Path, toml: str | bytes, **environ: str) -> list[str]:
    """The sentences that a configuration is refused with; none where it is good."""
    file = tmp_path / "inhouse.toml"
    file.write_bytes(toml.encode() if isinstance(toml, str) else toml)
    try:
        load_config(file, tmp_path / "data", environ)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    except InhouseError as error:
        return [str(error)]
    return []


SECRETS = [
    'engines = "hunter2"',
    '[[engines]]\napi_key = "hunter2"',
    'engines.a = "hunter2"',
    'engines.a = ["hunter2"]',
    '[engines.a]\nurl = "http://anna:hunter2@10.0.0.1:1"',
    '[engines.a]\napi_key = ["hunter2"]',
    '[engines.a]\nurl = ["http://anna:hunter2@10.0.0.1:1"]',
    'models.m = "vllm://anna:hunter2@10.0.0.1/x"',
    'models.m = "vllm://anna:hunter2@10.0.0.1"',
    'models.m = "vllm://anna:hunter2/2@10.0.0.1"',
    'models.m = "what://anna:hunter2@10.0.0.1"',
    'models.m = ["vllm://anna:hunter2@10.0.0.1/x", 3]',
    'models.m = { engines = "vllm://anna:hunter2@10.0.0.1/x" }',
    'store.url = "postgresql://anna:hunter2@10.0.0.1/db"',
    'store.url = ["postgresql://anna:hunter2@10.0.0.1/db"]',
    'store = "postgresql://anna:hunter2@10.0.0.1/db"',
    '[engines.a]\nurl = "http://10.0.0.1"\napi_key = "hunter2\\n"',
    '[engines.a]\nurl = "http://10.0.0.1"\napi_key = "hunter2€"',
]


@pytest.mark.parametrize("toml", SECRETS)
def test_no_problem_shows_a_secret(tmp_path: Path, toml: str) -> None:
    sentences = told(tmp_path, toml)
    assert sentences
    assert "hunter2" not in "\n".join(sentences)


def test_origins_show_no_secret(tmp_path: Path) -> None:
    (tmp_path / "inhouse.toml").write_text(
        '[models]\nm = "e"\n"a:b" = ["vllm://10.0.0.2/x", "vllm://10.0.0.3/x"]\n'
        '[engines.e]\nurl = "http://10.0.0.1:1"\napi_key = "hunter2"\n'
        '[store]\nurl = { env = "DATABASE" }\n'
    )
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "inhouse", "check", "--origins", *extra],
            capture_output=True, text=True, check=True, cwd=tmp_path,
            env=environment(DATABASE="sqlite:///hunter2.db", INHOUSE_LIMITS_MAX_CHOICES="7"),
        )  # fmt: skip
        assert "hunter2" not in done.stdout
        if not extra:
            lines = done.stdout.splitlines()
            assert 'models.m.engines = ["e"]    # inhouse.toml' in lines
            several = '["vllm://10.0.0.2/x", "vllm://10.0.0.3/x"]'
            assert f'models."a:b".engines = {several}    # inhouse.toml' in lines
            assert 'engines.e.api_key = "***"    # inhouse.toml' in lines
            assert "limits.max_choices = 7    # INHOUSE_LIMITS_MAX_CHOICES" in lines
            assert 'dlp.prompt = "log"    # default' in lines
            assert "model          m (chat): vllm 'm' at http://10.0.0.1:1" in lines
            assert any(line.startswith("not tried ") for line in lines)
    assert '"key": "limits.max_choices", "value": 7,' in done.stdout
    assert '"key": "gateway.trusted_proxies", "value": [],' in done.stdout


@pytest.mark.parametrize("other", ["--json", "--origins"])
def test_sample_goes_alone(tmp_path: Path, other: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inhouse", "check", "--sample", other],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "--sample prints a file" in done.stderr


GOOD = '\n[models]\nm = "vllm://10.0.0.1/x"\n'
ODD = [
    ("x = " + "[" * 5000 + "]" * 5000, "nested too deep"),
    ("x = " + "9" * 5000, "a number of thousands of digits"),
    ("[gateway]\nmax_connections = 0x" + "f" * 5000, "must be from 1 to 100000"),
    ("[gateway]\nhead_timeout_s = 1" + "0" * 400, "must be from 0.1 to 300"),
    ("[gateway]\nlisten = '127.0.0.1:" + "1" * 5000 + "'", "must be ADDRESS:PORT"),
    (b"\xef\xbb\xbf[gateway]\n", "begins with a byte order mark"),
    (b"# " + b"x" * 5_000_000, "larger than 4000000 bytes"),
    ('models.m = "vllm://10.0.0.1:' + "1" * 5000 + '/x"', "the port from 1 to 65535"),
    ('models.m = "vllm://10.0.0.1:0/x"', "the port from 1 to 65535"),
    ('models.m = "vllm://10.0.0.1:65536/x"', "the port from 1 to 65535"),
    ('models.m = "vllm://-host-/x"', "must be http://HOST:PORT"),
    ('models.m = "vllm://134744072/x"', "must be http://HOST:PORT"),
    ('models.m = "vllm://0x08080808/x"', "must be http://HOST:PORT"),
    ('models.m = "vllm://host/x?y"', "without '?', '#' or blanks"),
    ('models.m = "vllm://host/x\\ny"', "without '?', '#' or blanks"),
    ('models.m = "a\\u0000b"', "holds a NUL character"),
    ('models.m = "~no-such-user-here/x"', "there is no such home directory"),
    ('models.m = "nope"', "is no file here, no address (vllm://HOST:PORT/MODEL) and not the name"),
    ('models.m = { engines = ["nope"] }', 'models.m.engines = "nope": is no file here'),
    ('[models]\nm = "gpu2"\n[engines.gpu1]\nurl = "http://10.0.0.1:1"', "did you mean 'gpu1'?"),
    (GOOD + "[engines.e]\nurl = 'nonsense'", "engines.e.url = \"nonsense\": must be http://HOST"),
    (GOOD + "[engines.e]\nkind = 'embedded'\npath = '/nowhere'", "engines.e.path = "),
    (GOOD + "[engines.e]\nurl = 'http://10.0.0.1'\napi_key = 'a\\tb'", ""),
    (GOOD + '[engines.e]\nurl = "http://10.0.0.1"\napi_key = "a\\tb"', "printable Latin-1"),
    ('[store]\nurl = "sqlite://"', "must be sqlite:///PATH"),
    ('[store]\nurl = "sqlite:///:memory:?x"', "must be sqlite:///PATH"),
    ('[store]\nurl = "%"', "must be sqlite:///PATH"),
    ('[audit]\ndirectory = "~no-such-user-here/x"', "there is no such home directory"),
    ('[engines.e]\napi_key = { file = "~no-such-user-here/x" }', "no such home directory"),
    ('[engines.e]\napi_key = { env = "EMPTY" }', "has nothing in the variable EMPTY"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "part"), ODD, ids=[str(part)[:30] for _, part in ODD])
def test_a_sentence_for_what_is_odd(tmp_path: Path, toml: str | bytes, part: str) -> None:
    sentences = told(tmp_path, toml, EMPTY="")
    if part:
        (sentence,) = sentences
        assert part in sentence
        assert len(sentence) < 400


def test_a_variable_cannot_add_to_a_directory_of_models(tmp_path: Path) -> None:
    (sentence,) = told(tmp_path, f'models = "{MODELS}"', INHOUSE_MODELS_M="vllm://10.0.0.1/x")
    assert sentence == "INHOUSE_MODELS_M: cannot be added to a directory of models"


def test_names_of_files_are_checked_as_names_of_models(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "my model.gguf").symlink_to(MODELS / "smollm2-135m.gguf")
    (sentence,) = told(tmp_path, 'models = "models"')
    assert sentence.startswith('models."my model": a model\'s name is made of letters, digits')


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "etc" / "inhouse.toml"
    file.parent.mkdir()
    file.write_text('[audit]\ndirectory = "log"\n[store]\nurl = "sqlite:///keys.db"\n')
    loaded = load_config(file, tmp_path / "data", {})
    assert loaded.audit_directory == tmp_path / "etc" / "log"
    assert loaded.database == SqliteFile(tmp_path / "etc" / "keys.db")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file.write_text('[audit]\ndirectory = "~/log"\n[store]\nurl = "sqlite:////srv/keys.db"\n')
    loaded = load_config(file, tmp_path / "data", {})
    assert loaded.audit_directory == tmp_path / "home" / "log"
    assert loaded.database == SqliteFile(Path("/srv/keys.db"))


def test_a_context_beyond_the_training_and_a_wrong_task(tmp_path: Path) -> None:
    engine = f'[engines.e]\nkind = "embedded"\npath = "{MODELS}/smollm2-135m.gguf"\n'
    assert told(tmp_path, f'models.m = "e"\n{engine}context_tokens = 8192') == []
    assert told(tmp_path, f'models.m = "e"\n{engine}context_tokens = 8193') == [
        "engines.e.context_tokens = 8193: is more than the model was trained for: 8192"
    ]
    embed = 'engines = ["builtin:all-minilm-l6-v2"]'
    assert told(tmp_path, f"[models.m]\n{embed}") == []
    assert told(tmp_path, f'[models.m]\n{embed}\ntask = "embedding"') == []
    assert told(tmp_path, f'[models.m]\n{embed}\ntask = "chat"') == [
        "models.m.task = \"chat\": its model is for 'embedding'"
    ]


def test_the_names_of_secret_variables_are_kept_from_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "inhouse.toml"
    file.write_text(GOOD + '[engines.e]\nurl = "http://10.0.0.1"\napi_key = { env = "TOKEN" }')
    monkeypatch.setenv("TOKEN", "hunter2")
    loaded = load_config(file, tmp_path)
    assert loaded.secret_variables == {"TOKEN"}
    assert "hunter2" not in _environment(loaded.secret_variables).values()


# Model files


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def header(pairs: list[bytes], *, tensors: int = 0, claimed: int | None = None) -> bytes:
    count = len(pairs) if claimed is None else claimed
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, count) + b"".join(pairs)


def tensor(dimensions: list[int], kind: int = 0) -> bytes:
    shape = struct.pack(f"<{len(dimensions)}Q", *dimensions)
    return text(b"t") + struct.pack("<I", len(dimensions)) + shape + struct.pack("<IQ", kind, 0)


NESTED = b"".join(struct.pack("<IQ", LIST, 1) for _ in range(5000))
HOSTILE = [
    (header([pair(b"a", LIST, NESTED)]), "its header ends early or makes no sense"),
    (header([pair(b"a", LIST, struct.pack("<IQ", TEXT, 1 << 60))]), "makes no sense"),
    (header([pair(b"a", LIST, struct.pack("<IQ", U32, 1 << 63))]), "makes no sense"),
    (header([], claimed=1 << 40), "it claims to hold 0 tensors and 1099511627776 values"),
    (header([], tensors=1 << 40), "it claims to hold 1099511627776 tensors and 0 values"),
    (header([tensor([1] * 2000)], tensors=1, claimed=0), "a tensor claims 2000 dimensions"),
    (header([tensor([1 << 63] * 8)], tensors=1, claimed=0), "are larger than any disk"),
    (header([pair(b"general.alignment", TEXT, text(b"9" * 9000))]), "is not complete"),
    (header([pair(b"general.architecture", LIST, NESTED)]), "makes no sense"),
    (b"GGUF" + struct.pack("<IQQ", 77, 0, 0), "of version 77; 2 and 3 can be read"),
]


@pytest.mark.parametrize(("content", "part"), HOSTILE, ids=[part for _, part in HOSTILE])
def test_a_hostile_model_file_is_no_model(tmp_path: Path, content: bytes, part: str) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    with pytest.raises(gguf.NotAModel, match=part):
        gguf.read(file)


def test_a_vocabulary_of_any_size_ends(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    words = pair(b"a", LIST, struct.pack("<IQ", TEXT, 1_000_000) + text(b"x") * 1_000_000)
    file.write_bytes(header([words] * 5))
    with pytest.raises(gguf.NotAModel, match="makes no sense"):
        gguf.read(file)


def test_what_is_no_file_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "directory.gguf").mkdir()
    began = time.monotonic()
    assert told(tmp_path, 'models.m = "pipe.gguf"') == [
        'models.m = "pipe.gguf": is not a regular file'
    ]
    assert told(tmp_path, 'models.m = "/dev/zero"') == [
        'models.m = "/dev/zero": is not a regular file'
    ]
    (sentence,) = told(tmp_path, 'models.m = "directory.gguf"')
    assert "holds no .gguf file" in sentence
    os.mkfifo(tmp_path / "secret")
    (tmp_path / "secret").chmod(0o600)
    (sentence,) = told(tmp_path, '[engines.e]\napi_key = { file = "secret" }')
    assert "is empty" in sentence
    assert time.monotonic() - began < 60
