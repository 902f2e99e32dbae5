"""What may stand in the file, and the sentence for what may not."""
# ruff: noqa: E501 - a sentence stands on one line, as it is printed

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.config import gguf
from inhouse.config.load import load_config
from inhouse.config.oidc import claim_path
from inhouse.config.sample import sample
from inhouse.config.schema import Config, Settings
from inhouse.domain import EngineKind, Task
from inhouse.errors import ConfigurationError, InhouseError

MODELS = Path(sys.prefix) / "share" / "inhouse" / "models"
Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(toml: str, **environ: str) -> Config:
        file = tmp_path / "inhouse.toml"
        file.write_text(toml)
        return load_config(file, tmp_path / "data", environ)

    return loaded


def problems(load: Load, toml: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load(toml, **environ)
    return [str(problem) for problem in refused.value.problems]


BAD = [
    ("[gatway]", "gatway: there is no such key; did you mean 'gateway'?"),
    (
        "[gateway]\nlistn = 'x'",
        "gateway.listn: there is no such key; did you mean 'gateway.listen'?",
    ),
    ("[gateway]\nlisten = 3", "gateway.listen = 3: must be a text"),
    (
        "[gateway]\nlisten = 'here'",
        'gateway.listen = "here": must be ADDRESS:PORT, as 127.0.0.1:8080',
    ),
    (
        "[gateway]\nlisten = '0.0.0.0:80'",
        'gateway.listen = "0.0.0.0:80": would send keys and prompts in plain text; listen on '
        "127.0.0.1, give a certificate in [tls], or name the TLS proxy in front in "
        "gateway.trusted_proxies",
    ),
    ("[admin]\nlisten = '10.0.0.1:1'", 'admin.listen = "10.0.0.1:1": must be on loopback: 127.0.0.1:8081'),
    ("[admin]\nlisten = '127.0.0.1:8080'", 'admin.listen = "127.0.0.1:8080": is gateway.listen too; take another'),
    ("[gateway]\nhead_timeout_s = 0", "gateway.head_timeout_s = 0.0: must be from 0.1 to 300"),
    ("[oidc]\nissuer = 'https://idp.example.test'", "oidc.audiences: must name whom tokens are for; without it, every token of the provider would do"),
    ("[oidc]\naudiences = ['inhouse']", 'oidc.issuer = "": is needed beside the rest of [oidc]'),
    ("[oidc]\njwks_url = 'https://idp.example.test/keys'", 'oidc.issuer = "": is needed beside the rest of [oidc]'),
    *(
        (f"[oidc]\nissuer = '{issuer}'\naudiences = ['a']", f'oidc.issuer = "{issuer}": must be https://HOST/PATH, or http:// on loopback, exactly as the tokens\' \'iss\'')
        for issuer in ("http://idp.example.test", "idp.example.test", "https://", "ftp://127.0.0.1", "https://idp.example.test/?a=b", "https://idp.example.test/#a", "https://idp.example.test:0", "https://idp.example.test:x", "https://idp.example.test/a b", "https://idp.exämple.test", "https://[::1")
    ),
    ("[oidc]\nissuer = 'https://idp.example.test'\naudiences = ['']", 'oidc.audiences = "": must not be empty texts'),
    ("[oidc]\nalgorithms = ['HS256']", 'oidc.algorithms = "HS256": must be of these: \'RS256\', \'RS384\', \'RS512\', \'PS256\', \'PS384\', \'PS512\', \'ES256\', \'ES384\', \'ES512\', \'EdDSA\', \'Ed25519\''),
    ("[oidc]\nalgorithms = []", "oidc.algorithms: must name at least one"),
    ("[oidc]\ntoken_types = ['at+JWT']", "oidc.token_types = \"at+JWT\": must be of these: 'at+jwt', 'JWT', ''"),
    ("[oidc]\ntoken_types = []", "oidc.token_types: must name at least one"),
    *(
        (f"[oidc]\nroles_claims = ['{path}']", f'oidc.roles_claims = "{path.strip()}": must be names with dots between them; in quotes where a name has dots itself')
        for path in ("a..b", ".a", "a.", 'a."b', 'a"b')
    ),
    ("[oidc]\nissuer = 'https://a.test'\naudiences = ['a']\njwks_url = 'http://a.test/keys'", 'oidc.jwks_url = "http://a.test/keys": must be https://HOST/PATH, or http:// on loopback'),
    ("[oidc]\nrefresh_min_s = 700", "oidc.refresh_min_s = 700: is above oidc.refresh_max_s"),
    ("[oidc]\nstale_s = 599", "oidc.stale_s = 599: is below oidc.refresh_max_s: keys would run out between two fetches"),
    ("[oidc]\nissuer = 'https://a.test'\naudiences = ['a']\nca_file = 'none.pem'", 'oidc.ca_file = "none.pem": cannot be read: No such file or directory'),
    ("[gateway]\nhead_timeout_s = nan", "gateway.head_timeout_s = nan: must be from 0.1 to 300"),
    ("[gateway]\nmax_connections = true", "gateway.max_connections = true: must be a whole number"),
    ("[gateway]\ntrusted_proxies = 'x'", 'gateway.trusted_proxies = "x": must be a list of texts: ["...", "..."]'),
    ("[dlp]\nprompt = 'maybe'", "dlp.prompt = \"maybe\": must be 'off', 'log' or 'block'"),
    ("gateway = 3", "gateway = 3: must be a table: [gateway]"),
    ("models = 3", 'models = 3: must name at least one model: NAME = "SOURCE"'),
    ("[models]\nf = 3", 'models.f = 3: must be what answers to it: f = "SOURCE"'),
    ("[models]\ng = ''", 'models.g = "": names nothing; see inhouse check --sample'),
    ("[models.m]\nengine = 'vllm://h/x'", "models.m.engine: there is no such key; did you mean 'models.m.engines'?"),
    ("[models]\nm = 'ollma://h/x'", "models.m = \"ollma://h/x\": does not say what engine it is; did you mean 'ollama://'?"),
    ("[models]\nm = 'volm+https://h/x'", "models.m = \"volm+https://h/x\": does not say what engine it is; did you mean 'vllm+https://'?"),
    ("[models]\nm = 'vllm+ftp://h/x'", "models.m = \"vllm+ftp://h/x\": does not say what engine it is; write 'vllm://HOST:8000/MODEL', 'ollama://HOST:11434/MODEL' or 'llamacpp://HOST:8080'"),
    ("[gateway]\nmax_body_bytes = '8MB'", 'gateway.max_body_bytes = "8MB": must be a whole number of bytes: digits alone, without quotes'),
    ("[gateway]\nidle_timeout_s = '30'", 'gateway.idle_timeout_s = "30": must be a number of seconds: digits alone, without quotes'),
    ("[limits]\nmax_choices = '3'", 'limits.max_choices = "3": must be a whole number: digits alone, without quotes'),
    ("[models]\nm = 'vllm://h'", "models.m = \"vllm://h\": names no model; write 'vllm://h/MODEL'"),
    ("[models]\nm = 'vllm://8.8.8.8/x'", 'models.m = "http://8.8.8.8:8000": is a public address; prompts stay inside: use a private one'),
    ("[models]\nm = 'builtin:gpt-9'", 'models.m = "builtin:gpt-9": there is all-minilm-l6-v2 and smollm2-135m'),
    ("[models]\nm = '/nowhere.gguf'", 'models.m = "/nowhere.gguf": cannot be read: No such file or directory'),
    ("[models.m]\nengines = []", "models.m.engines: names no engine; see inhouse check --sample"),
    ("[engines.e]\nkind = 'vlm'", "engines.e.kind = \"vlm\": must be 'embedded', 'llamacpp', 'vllm', 'ollama' or 'openai'"),
    ("[engines.e]\napi_key = { env = 'NOPE' }", "engines.e.api_key: the environment has no variable NOPE"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_one_sentence_for_each_problem(load: Load, toml: str, sentence: str) -> None:
    assert problems(load, toml) == [sentence]


def test_every_problem_is_told_at_once(load: Load) -> None:
    toml = "[gatway]\n[dlp]\nprompt = 'x'\n[log]\nlevel = 3\n"
    assert len(problems(load, toml, INHOUSE_GATEWAY_LISTN="x")) == 4


def test_toml_that_is_none(load: Load) -> None:
    (sentence,) = problems(load, "[gateway\nlisten = 1")
    assert "is not valid TOML" in sentence
    assert "line 1" in sentence


TOML = [
    ("[models]\nchat = gpt\n", 'Invalid value (at line 2, column 8): a text stands in quotes: chat = "..."'),
    ("[engines.e]\napi_key = s3cret", 'Invalid value (at line 2, column 11): a text stands in quotes: api_key = "..."'),
    ("[models]\na = '1'\na = 's3cret'\n", "Cannot overwrite a value (at line 3, column 13): a is there twice"),
    ("[models]\na = '1'\n[gateway]\n[models]\n", "Cannot declare ('models',) twice (at line 4, column 8): [models] is there twice"),
    ("[models]\na = 1979-13-01", "Expected newline or end of document after a statement (at line 2, column 9)"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "sentence"), TOML, ids=[sentence for _, sentence in TOML])
def test_toml_that_is_none_says_what_is_meant(load: Load, toml: str, sentence: str) -> None:
    (told,) = problems(load, toml)
    assert told.endswith(f"inhouse.toml: is not valid TOML: {sentence}")


def test_variables_that_set_nothing(load: Load) -> None:
    assert problems(load, "", INHOUSE_FOO="x", INHOUSE_GATEWAY_LISTN="x") == [
        "INHOUSE_FOO: there is no such variable; INHOUSE_<SECTION>_<KEY> sets a key, as INHOUSE_GATEWAY_LISTEN does",
        "INHOUSE_GATEWAY_LISTN: there is no such variable; did you mean 'INHOUSE_GATEWAY_LISTEN'?",
    ]


def test_what_is_not_wrong_is_noted(load: Load) -> None:
    file = MODELS / "smollm2-135m.gguf"
    loaded = load(
        f'[models]\na = "{file}"\nb = "builtin:smollm2-135m"\nc = "openai://127.0.0.1:1/v1/drill"\n'
    )
    assert loaded.notes == (
        "models.c asks for a model named 'v1/drill'; an address is written without /v1",
        f"{file} is loaded 2 times, for a, b",
    )
    assert load("").notes == ()


def test_the_sample_is_the_default(load: Load) -> None:
    loaded = load(sample())
    assert loaded.settings.gateway == Settings().gateway
    assert set(loaded.models) == {"smollm2-135m", "all-minilm-l6-v2"}


def test_the_forms_of_a_model(load: Load) -> None:
    loaded = load(f"""
[models]
file = "{MODELS}/smollm2-135m.gguf"
embed = "builtin:all-minilm-l6-v2"
large = "vllm://10.0.3.11/meta-llama/Llama-3.1-70B"
small = "ollama+https://ollama.internal/llama3.2:3b"
pair = ["vllm://10.0.3.11:8000/a", "vllm://10.0.3.12:8000/a"]
named = {{ engines = ["gpu"], model = "there" }}
[engines.gpu]
url = "http://10.0.3.13:8000"
api_key = "s3cret"
concurrency = 7
""")
    engines = {name: model.engines for name, model in loaded.models.items()}
    assert loaded.models["embed"].task is Task.EMBEDDING
    assert engines["file"][0].kind is EngineKind.EMBEDDED
    assert engines["large"][0].url == "http://10.0.3.11:8000"
    assert engines["large"][0].model == "meta-llama/Llama-3.1-70B"
    assert engines["small"][0].url == "https://ollama.internal:11434"
    assert [engine.name for engine in engines["pair"]] == [
        "pair@10.0.3.11:8000",
        "pair@10.0.3.12:8000",
    ]
    assert (engines["named"][0].model, engines["named"][0].concurrency) == ("there", 7)
    assert "s3cret" not in repr(loaded)


def test_a_directory_of_models(load: Load) -> None:
    assert set(load(f'models = "{MODELS}"').models) == {"smollm2-135m", "all-minilm-l6-v2"}
    (sentence,) = problems(load, f'[models]\nm = "{MODELS}"')
    assert "holds several models: all-minilm-l6-v2.gguf, smollm2-135m.gguf; name one" in sentence


def test_the_environment_goes_before_the_file(load: Load) -> None:
    loaded = load(
        "[limits]\nmax_choices = 2\n",
        INHOUSE_LIMITS_MAX_CHOICES="3",
        INHOUSE_GATEWAY_EXTRA_FIELDS="a, b",
        INHOUSE_MODELS_M="vllm://10.0.0.1/x",
    )
    assert loaded.settings.limits.max_choices == 3
    assert loaded.settings.gateway.extra_fields == ["a", "b"]
    assert loaded.origins["limits.max_choices"] == "INHOUSE_LIMITS_MAX_CHOICES"
    assert set(loaded.models) == {"m"}


def test_secrets_come_from_files_for_their_owner_alone(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    toml = '[models]\nm = { engines = ["e"] }\n[engines.e]\nurl = "http://10.0.0.1:1"\n'
    toml += 'api_key = { file = "key" }\n'
    file.chmod(0o644)
    (sentence,) = problems(load, toml)
    assert "may be read by others (mode 644)" in sentence
    file.chmod(0o600)
    assert load(toml).models["m"].engines[0].api_key.reveal() == "s3cret"


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["gateway", "models", "engines", "dlp", "x"]),
        st.dictionaries(st.sampled_from(["listen", "m", "prompt", "kind", "é"]), VALUES, max_size=4)
        | VALUES,
        max_size=4,
    )
)
def test_any_document_is_a_configuration_or_problems(document: dict[str, object]) -> None:
    from inhouse.config.load import _Loader

    with contextlib.suppress(InhouseError):
        assert _Loader(document, None, {}).load(Path("/nowhere")).models


def test_models_are_read_whole_or_told_to_be_cut(tmp_path: Path) -> None:
    whole = (MODELS / "all-minilm-l6-v2.gguf").read_bytes()
    assert gguf.read(MODELS / "all-minilm-l6-v2.gguf").embeds
    assert not gguf.read(MODELS / "smollm2-135m.gguf").embeds
    file = tmp_path / "cut.gguf"
    for size in (0, 3, 4, 20, 24, 1000, 100_000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(gguf.NotAModel):
            gguf.read(file)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_not(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"GGUF\x03\x00\x00\x00" + data)
        file.flush()
        try:
            read = gguf.read(Path(file.name))
        except gguf.NotAModel:
            return
        assert read.size_bytes


def test_the_files_of_tls_are_looked_at(load: Load, tmp_path: Path) -> None:
    (tmp_path / "here.pem").write_text("")
    toml = "[tls]\ncertificate = '{}'\nkey = '{}'\n"
    assert load(toml.format("here.pem", "here.pem")).tls_files == (
        tmp_path / "here.pem",
        tmp_path / "here.pem",
    )
    assert problems(load, toml.format("gone.pem", "~nobody-of-that-name/key.pem")) == [
        'tls.certificate = "gone.pem": cannot be read: No such file or directory',
        "tls.key = \"~nobody-of-that-name/key.pem\": begins with '~', and there is no such home directory",
    ]


def test_a_provider_of_access_tokens(load: Load, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    loaded = load(
        """
        [oidc]
        issuer = "https://login.example.test/realms/main"
        audiences = ["inhouse"]
        roles_claims = ["realm_access.roles", 'resource_access."my.app".roles']
        ca_file = "ca.pem"
        """,
        INHOUSE_OIDC_AUDIENCES="inhouse,api://inhouse",
        INHOUSE_OIDC_STALE_S="3600",
    )
    assert loaded.oidc_ca == tmp_path / "ca.pem"
    assert loaded.settings.oidc.audiences == ["inhouse", "api://inhouse"]
    assert loaded.settings.oidc.stale_s == 3600
    assert load("").settings.oidc.issuer == ""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("groups", ("groups",)),
        ("realm_access.roles", ("realm_access", "roles")),
        ('resource_access."my.app".roles', ("resource_access", "my.app", "roles")),
        ('"https://example.test/roles"', ("https://example.test/roles",)),
        ("", None),
        ('""', None),
        ('"a"b', None),
    ],
)
def test_paths_of_claims(text: str, path: tuple[str, ...] | None) -> None:
    assert claim_path(text) == path
