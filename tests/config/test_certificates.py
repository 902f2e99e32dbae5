"""`inhouse check` and `up` look at the certificate and its key, and say what is wrong with them."""

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inhouse.__main__ import run
from inhouse.config.certificates import examined
from inhouse.config.load import load_config
from inhouse.errors import ConfigurationError
from inhouse.gateway import local_ca

NOW = datetime.now(UTC)
Pair = tuple[Path, Path]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return local_ca.ensure(tmp_path / "tls", "127.0.0.1", now=NOW)


def sentences(certificate: Path, key: Path, now: datetime = NOW) -> list[str]:
    return [f"{fault.key} {fault.sentence}" for fault in examined(certificate, key, now).faults]


def test_a_good_pair_is_good(pair: Pair) -> None:
    assert examined(*pair, NOW) == examined(*pair, NOW + timedelta(days=75))
    assert sentences(*pair) == []


def test_its_end_is_told_for_two_weeks_and_is_then_refused(pair: Pair) -> None:
    (note,) = examined(*pair, NOW + timedelta(days=77)).notes
    assert note.startswith(f"the certificate in {pair[0]} ends on 20")
    (sentence,) = sentences(*pair, NOW + timedelta(days=90, minutes=1))
    assert sentence.startswith("tls.certificate has ended, on 20")
    (note,) = examined(*pair, NOW - timedelta(days=1)).notes
    assert "is valid from" in note


def other_key(pair: Pair) -> None:
    directory = pair[0].parents[1] / "other"
    _, key = local_ca.ensure(directory, "127.0.0.1")
    pair[1].write_bytes(key.read_bytes())


def swapped(pair: Pair) -> None:
    certificate, key = (path.read_bytes() for path in pair)
    pair[0].write_bytes(key)
    pair[1].write_bytes(certificate)


def encrypted(pair: Pair) -> None:
    openssl = ["openssl", "pkcs8", "-topk8", "-passout", "pass:x", "-in", str(pair[1])]
    done = subprocess.run(openssl, capture_output=True, check=True)
    pair[1].write_bytes(done.stdout)


def encrypted_as_of_old(pair: Pair) -> None:
    openssl = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(pair[1])]
    done = subprocess.run(openssl, capture_output=True, check=True)
    pair[1].write_bytes(done.stdout)


def root_first(pair: Pair) -> None:
    leaf, _, root = pair[0].read_bytes().partition(b"-----END CERTIFICATE-----\n")
    pair[0].write_bytes(root + leaf + b"-----END CERTIFICATE-----\n")


def short(pair: Pair) -> None:
    """A key that the library does not take."""
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=a",
         "-keyout", str(pair[1]), "-out", str(pair[0])], capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("this openssl makes no key of 512 bits")


def fifo(pair: Pair) -> None:
    pair[1].unlink()
    os.mkfifo(pair[1], 0o600)


def folder(pair: Pair) -> None:
    pair[1].unlink()
    pair[1].mkdir()


BAD: list[tuple[Callable[[Pair], object], list[str]]] = [
    (other_key, ["tls.key is not the key of the certificate in {certificate}"]),
    (swapped, ["tls.certificate holds a key and no certificate: swapped with tls.key?",
               "tls.key holds a certificate and no key: swapped with tls.certificate?"]),
    (encrypted, ["tls.key is encrypted; decrypt it with: openssl pkey -in {key} -out {key}.plain"]),
    (encrypted_as_of_old,
     ["tls.key is encrypted; decrypt it with: openssl pkey -in {key} -out {key}.plain"]),
    (root_first,
     ["tls.key is the key of certificate 2 in {certificate}; that one must stand first"]),
    (short, ["tls.certificate cannot be used with {key}: EE_KEY_TOO_SMALL"]),
    (lambda pair: pair[1].chmod(0o640),
     ["tls.key may be read by others (mode 640); run: chmod 600 {key}"]),
    (lambda pair: pair[1].write_text("nothing"),
     ["tls.key holds no key in PEM, -----BEGIN PRIVATE KEY-----"]),
    (lambda pair: pair[0].write_text("nothing"),
     ["tls.certificate holds no certificate in PEM, -----BEGIN CERTIFICATE-----"]),
    (lambda pair: pair[1].write_bytes(pair[1].read_bytes()[:80]),
     ["tls.key holds a key that cannot be read: is it whole?"]),
    (lambda pair: pair[0].write_bytes(pair[0].read_bytes()[:80]),
     ["tls.certificate holds a certificate that cannot be read: is it whole?"]),
    (lambda pair: pair[1].write_bytes(b"\0" * 1_048_577),
     ["tls.key is no PEM file: it is larger than 1048576 bytes"]),
    (lambda pair: pair[1].unlink(), ["tls.key cannot be read: No such file or directory"]),
    (folder, ["tls.key cannot be read: Is a directory"]),
    (fifo, ["tls.key holds no key in PEM, -----BEGIN PRIVATE KEY-----"]),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "expected"), BAD, ids=[said[0][:50] for _, said in BAD])
def test_each_fault_is_one_sentence(
    pair: Pair, harm: Callable[[Pair], object], expected: list[str]
) -> None:
    harm(pair)
    certificate, key = pair
    assert sentences(*pair) == [each.format(certificate=certificate, key=key) for each in expected]


@pytest.fixture
def config(tmp_path: Path, pair: Pair) -> Path:
    file = tmp_path / "inhouse.toml"
    file.write_text(
        f'[tls]\ncertificate = "{pair[0]}"\nkey = "{pair[1]}"\n[gatway]\n'
        '[models]\nm = "ollama://127.0.0.1:1/m"\n'
    )
    return file


@pytest.mark.parametrize("command", ["check", "up"])
def test_check_and_up_tell_it_among_the_other_problems(
    config: Path, pair: Pair, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    other_key(pair)
    assert run([command, "--config", str(config), "--data", str(config.parent / "data")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "gatway: there is no such key; did you mean 'gateway'?",
        f'tls.key = "{pair[1]}": is not the key of the certificate in {pair[0]}',
        "2 problems in the configuration",
    ]


def test_other_commands_do_not_care(config: Path, pair: Pair) -> None:
    other_key(pair)
    config.write_text(config.read_text().replace("[gatway]\n", ""))
    assert load_config(config, config.parent, {}).tls_files == pair
    with pytest.raises(ConfigurationError):
        load_config(config, config.parent, {}, tls=True)


def test_check_notes_an_end_that_is_near(
    config: Path, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace("[gatway]\n", ""))
    directory = pair[0].parent
    local_ca.ensure(directory, "127.0.0.1", ["old.test"], now=NOW - timedelta(days=80))
    assert run(["check", "--config", str(config)]) == 0
    assert f"note           the certificate in {pair[0]} ends on 20" in capsys.readouterr().out
