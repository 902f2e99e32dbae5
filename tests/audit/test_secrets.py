"""Keys are made once; one that is lost is told, and never made anew in silence."""

from pathlib import Path

import pytest

from inhouse.audit.log import append_once
from inhouse.audit.record import Intent, Read
from inhouse.audit.secrets import chain_key, chain_key_path, fingerprint_key, mark_path
from inhouse.audit.segment import segments
from inhouse.audit.verify import verify
from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.errors import UsageError

INTENT = Intent(
    request_id="req_1",
    time=1.0,
    address="127.0.0.1",
    principal_id="key:a",
    principal_name="anna",
    dialect="openai",
    operation="chat",
    route="/v1/chat/completions",
    model="m",
    authorized_by="key-any-model",
    bytes_in=10,
    fingerprint="f",
    fingerprint_last="l",
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(None, tmp_path / "data", {})


@pytest.mark.parametrize("left", ["segments", "head"])
def test_the_key_of_a_log_that_is_there_is_not_made_anew(config: Config, left: str) -> None:
    append_once(config, Read(1.0, "os:me", "tail"))
    chain_key_path(config).unlink()
    if left == "head":
        segments(config.audit_directory)[0].unlink()
    else:
        (config.audit_directory / "head.json").unlink()
    with pytest.raises(UsageError, match=r"audit\.key is missing; restore it from backup"):
        chain_key(config)
    with pytest.raises(UsageError, match=r"audit\.key is missing; restore it from backup"):
        append_once(config, Read(1.0, "os:me", "tail"))
    assert not chain_key_path(config).exists()


def test_the_key_of_fingerprints_is_not_made_anew_where_there_are_some(config: Config) -> None:
    append_once(config, Read(1.0, "os:me", "tail"))
    path = config.secrets_directory / "fingerprint.key"
    key = fingerprint_key(config)
    path.unlink()
    assert fingerprint_key(config) != key  # nothing was made with it
    append_once(config, INTENT)
    path.unlink()
    with pytest.raises(UsageError, match=r"fingerprint\.key is missing; restore it from backup"):
        fingerprint_key(config)
    assert not path.exists()


def test_a_command_writes_the_mark(config: Config) -> None:
    append_once(config, Read(1.0, "os:me", "tail"))
    key, mark = chain_key(config), mark_path(config)
    assert mark.stat().st_mode & 0o777 == 0o600
    report = verify(config.audit_directory, key, mark)
    assert (report.findings, report.notes, report.records) == ([], [], 1)
    segments(config.audit_directory)[0].unlink()
    (config.audit_directory / "head.json").unlink()
    assert not verify(config.audit_directory, key, mark).good
