"""The head and the mark: how far the log goes, sealed, so that an end that was cut off is missed.

`head.json` stands with the log. The mark says the same outside of its directory, so that a log
which was rolled back together with its head is told by whoever cannot roll back the mark.

Written at most once a second and when a process ends. What the log holds beyond them is newer;
what they name and the log does not hold was taken away.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inhouse.audit.files import Files
from inhouse.audit.segment import Link, Place, number_of, run_from, segments


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last record, and where it ends: the segment's number, and the byte behind it. The first
    releases did not write where."""

    n: int
    mac: str
    time: float
    seal: str
    segment: int | None = None
    offset: int = 0

    @property
    def place(self) -> Place | None:
        """Where the record ends, if the head says so."""
        if self.segment is None:
            return None
        return Place(self.segment, self.offset, Link(self.n, bytes.fromhex(self.mac)))


@dataclass(frozen=True, slots=True)
class Seals:
    """Head and mark as they were found; `wrong` has (file, sentence) for what is not ours."""

    head: Head | None
    mark: Head | None
    wrong: tuple[tuple[str, str], ...] = ()

    @property
    def places(self) -> list[Place]:
        each = [seal.place for seal in (self.head, self.mark) if seal is not None]
        return [place for place in each if place is not None]

    @property
    def last(self) -> int:
        """The number of the newest record that either names."""
        return max((seal.n for seal in (self.head, self.mark) if seal is not None), default=0)


def head_path(directory: Path) -> Path:
    return directory / "head.json"


def write_head(
    files: Files,
    path: Path,
    key: bytes,
    place: Place,
    now: float,
    still: Callable[[], bool] = lambda: True,
) -> bool:
    """Write a head, or a mark: they are the same. Whether it was `still` to be done at the end."""
    n, mac = place.link.n, place.link.mac.hex()
    seal = _seal(key, Head(n, mac, now, "", place.number, place.offset))
    head = Head(n, mac, now, seal, place.number, place.offset)
    return files.replace(path, msgspec.json.encode(head), still)


def read_head(path: Path, key: bytes) -> Head | None:
    """A head or a mark; None where there is none. Raises ValueError where it is not ours, OSError
    where the disk fails."""
    try:
        head = msgspec.json.decode(path.read_bytes(), type=Head)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("cannot be read") from error
    except IsADirectoryError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not hmac.compare_digest(head.seal.encode(), _seal(key, head).encode()):
        raise ValueError("its seal is not made with the log's key")
    return head


def read_seals(directory: Path, key: bytes, mark: Path | None) -> Seals:
    """What head and mark say."""
    found: list[Head | None] = []
    wrong = []
    for path in (head_path(directory), mark):
        try:
            found.append(None if path is None else read_head(path, key))
        except ValueError as error:
            assert path is not None  # only a file can be wrong
            found.append(None)
            wrong.append((path.name, str(error)))
    return Seals(found[0], found[1], tuple(wrong))


def parts(directory: Path) -> list[Path]:
    """The segments of a log, in order, without what was put beside them under a higher number.
    Believes the head without its seal: who reads for people has no key."""
    found = segments(directory)
    try:
        head = msgspec.json.decode(head_path(directory).read_bytes(), type=Head)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return found
    if head.segment is None:
        return found
    last = run_from(directory, head.segment)
    return [path for path in found if number_of(path) <= last]


def _seal(key: bytes, head: Head) -> str:
    where = "" if head.segment is None else f"{head.segment} {head.offset} "
    message = f"head {head.n} {head.mac} {where}{head.time!r}"
    return hmac.digest(key, message.encode(), "sha256").hex()
