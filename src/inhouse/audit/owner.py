"""Whose log it is. A file of another user's in it would stop its gateway at the next start."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from inhouse.config.owner import require_owner, user_name
from inhouse.errors import UsageError

Owner = tuple[int, int]
"""User and group."""


def owner_of(directory: Path, *, reading: bool, data: Path | None = None) -> Owner | None:
    """As whom to write into a log's directory, which stands in `data`; None for who we are.

    Raises UsageError where the log is another user's. Only root may go on then, and only to read.
    A link counts as its maker's: where it leads was another user's to choose.
    """
    user = os.geteuid()
    try:
        states = [directory.stat(), directory.lstat()]
        states += [data.stat()] if data is not None else []
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"the audit log's directory {directory}: {error.strerror}") from error
    other = next((state for state in states if state.st_uid != user), None)
    if other is None:
        return None
    if user == 0 and reading:
        return other.st_uid, other.st_gid
    owner = user_name(other.st_uid)
    raise UsageError(f"the audit log in {directory} belongs to {owner}; run this as {owner}")


def require_reader(data: Path) -> None:
    """Raise UsageError where a log that stands in `data` is another user's, and we are not root."""
    if os.geteuid() != 0:
        require_owner(data)


@contextlib.contextmanager
def acting_as(owner: Owner | None) -> Iterator[None]:
    """Root with the rights of the owner and no others, so that nothing which the owner has put in
    the way makes root write, or give away, a file that is not the owner's. For the whole process:
    for commands, which have one thread."""
    if owner is None:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    user = os.geteuid()
    os.setgroups([owner[1]])
    try:
        os.setegid(owner[1])
        os.seteuid(owner[0])
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
        os.setgroups(groups)
