"""The head: how far the log goes, sealed, so that a tail that was cut off is missed.

Written at most once a second and when a process ends. What the log holds beyond it is newer; what
it names and the log does not hold was taken away.
"""

import hmac
from pathlib import Path

import msgspec

from inhouse.audit.files import Files
from inhouse.audit.segment import Link


class Head(msgspec.Struct, frozen=True):
    n: int
    mac: str
    time: float
    seal: str


def head_path(directory: Path) -> Path:
    return directory / "head.json"


def write_head(files: Files, directory: Path, key: bytes, link: Link, now: float) -> None:
    seal = _seal(key, link.n, link.mac.hex(), now)
    head = Head(link.n, link.mac.hex(), now, seal)
    files.replace(head_path(directory), msgspec.json.encode(head))


def read_head(directory: Path, key: bytes) -> Head | None:
    """The head; None where there is none. Raises ValueError where it is not ours."""
    try:
        head = msgspec.json.decode(head_path(directory).read_bytes(), type=Head)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("the head cannot be read") from error
    if not hmac.compare_digest(head.seal, _seal(key, head.n, head.mac, head.time)):
        raise ValueError("the head's seal is not made with the log's key")
    return head


def _seal(key: bytes, n: int, mac: str, time: float) -> str:
    return hmac.digest(key, f"head {n} {mac} {time!r}".encode(), "sha256").hex()
