"""[login] and [proxy_login]: the sentence for what may not stand there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.errors import ConfigurationError

OIDC = '[oidc]\nissuer = "https://login.example.com"\naudiences = ["inhouse"]\n'
LOGIN = '[login]\nclient_id = "console"\nconsole_url = "https://inhouse.example.com"\n'
PROXY = (
    '[proxy_login]\nlisten = "127.0.0.1:8082"\nissuer = "sso"\npeers = ["127.0.0.1"]\n'
    'secret = "0123456789abcdef0123456789abcdef"\n'
)
Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(toml: str) -> Config:
        file = tmp_path / "inhouse.toml"
        file.write_text(toml)
        return load_config(file, tmp_path / "data", {})

    return loaded


def test_good_ones(load: Load) -> None:
    settings = load(OIDC + LOGIN + PROXY).settings
    assert settings.login.client_id == "console"
    assert settings.proxy_login.peers == ["127.0.0.1"]
    assert "0123456789abcdef" not in repr(settings)


def test_a_console_on_this_machine_may_speak_plain_http(load: Load) -> None:
    assert load(OIDC + LOGIN.replace("https://inhouse.example.com", "http://127.0.0.1:8081"))


BAD = [
    (LOGIN, "oidc.issuer", "needed with [login]"),
    (OIDC + '[login]\nconsole_url = "https://x.example"', "login.client_id", "is needed"),
    (OIDC + '[login]\nclient_secret = "x"', "login.client_id", "is needed"),
    (OIDC + '[login]\nclient_id = "x"', "login.console_url", "must be https://HOST"),
    (OIDC + LOGIN.replace(".com", ".com/a"), "login.console_url", "without a path"),
    (OIDC + LOGIN.replace(".com", ".com/"), "login.console_url", "without a path"),
    (OIDC + LOGIN.replace("inhouse.example", "Inhouse.example"), "login.console_url", "must be"),
    (OIDC + LOGIN.replace("https", "http"), "login.console_url", "must be https://HOST"),
    (OIDC + LOGIN + 'scopes = ["profile"]', "login.scopes", "must have 'openid'"),
    (OIDC + LOGIN + 'scopes = ["openid", "a b"]', "login.scopes", "without spaces"),
    (OIDC + LOGIN + "idle_minutes = 90\nabsolute_hours = 1", "login.idle_minutes", "is above"),
    (OIDC + LOGIN + 'token_url = "http://x.example/t"', "login.token_url", "must be https"),
    (PROXY.replace("127.0.0.1:8082", "10.0.0.1:8082"), "proxy_login.listen", "plain text"),
    (PROXY.replace("8082", "8081"), "proxy_login.listen", "is admin.listen too"),
    (PROXY.replace("8082", "8080"), "proxy_login.listen", "is gateway.listen too"),
    (PROXY.replace('listen = "127.0.0.1:8082"', ""), "proxy_login.listen", "is needed"),
    (PROXY.replace('["127.0.0.1"]', "[]"), "proxy_login.peers", "must name the proxy"),
    (PROXY.replace('["127.0.0.1"]', '["0.0.0.0/0"]'), "proxy_login.peers", "is everybody"),
    (PROXY.replace('["127.0.0.1"]', '["proxy"]'), "proxy_login.peers", "an address or a network"),
    (
        PROXY.replace('"0123456789abcdef0123456789abcdef"', '""'),
        "proxy_login.secret",
        "any program",
    ),
    (PROXY.replace("0123456789abcdef0123456789abcdef", "short"), "proxy_login.secret", "32 char"),
    (PROXY.replace('"sso"', '""'), "proxy_login.issuer", "must name whose"),
    (PROXY + 'access_token = "require"', "proxy_login.access_token", "needs [oidc]"),
    (PROXY + 'subject = "x-anything"', "proxy_login.subject", "must be"),
]


@pytest.mark.parametrize(("toml", "path", "sentence"), BAD)
def test_bad_ones(load: Load, toml: str, path: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(toml)
    found = {problem.path: problem.sentence for problem in refused.value.problems}
    assert sentence in found.get(path, ""), found
