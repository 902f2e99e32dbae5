"""The log's secrets: the keys of its chain and of fingerprints, and where its mark stands.

A key is made once. One that is missing where something was written with it is a loss, and is
never made anew in silence: what was written could no longer be proven, or found.
"""

import re
from pathlib import Path

from inhouse.audit.head import head_path, parts
from inhouse.audit.segment import segments
from inhouse.config.keyfile import read_or_create
from inhouse.config.schema import Config
from inhouse.errors import UsageError

_FINGERPRINT = re.compile(rb'"fingerprint":"[^"]')


def mark_path(config: Config) -> Path:
    """Where the mark stands: with the secrets, outside of the log's directory."""
    return config.secrets_directory / "audit.mark"


def chain_key_path(config: Config) -> Path:
    return config.secrets_directory / "audit.key"


def chain_key(config: Config) -> bytes:
    """The key of the log's chain, made with the log. Raises UsageError where only the log is
    there."""
    directory, path = config.audit_directory, chain_key_path(config)
    if not path.exists() and (segments(directory) or head_path(directory).exists()):
        raise _missing(path, f"the audit log in {directory} is chained with it")
    return read_or_create(path)


def fingerprint_key(config: Config) -> bytes:
    """The key of fingerprints, made before the first. Raises UsageError where the log holds
    fingerprints and the key is gone."""
    directory, path = config.audit_directory, config.secrets_directory / "fingerprint.key"
    if not path.exists() and _holds_fingerprints(directory):
        raise _missing(path, f"fingerprints in the audit log in {directory} are made with it")
    return read_or_create(path)


def _holds_fingerprints(directory: Path) -> bool:
    for path in parts(directory):
        with path.open("rb") as file:
            if any(_FINGERPRINT.search(line) for line in file):
                return True
    return False


def _missing(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is missing; restore it from backup: {why}")
