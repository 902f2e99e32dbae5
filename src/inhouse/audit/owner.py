"""Whose log it is. A file of another user's in it would stop its gateway at the next start."""

import os
from pathlib import Path

from inhouse.config.owner import user_name
from inhouse.errors import UsageError


def owner_of(directory: Path, *, reading: bool) -> tuple[int, int] | None:
    """Who shall own what is made in a log's directory: user and group, or None for this process.

    Raises UsageError where the log is another user's. Only root may go on then, and only to read.
    """
    try:
        state = directory.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"the audit log's directory {directory}: {error.strerror}") from error
    user = os.geteuid()
    if state.st_uid == user:
        return None
    if user == 0 and reading:
        return state.st_uid, state.st_gid
    owner = user_name(state.st_uid)
    raise UsageError(f"the audit log in {directory} belongs to {owner}; run this as {owner}")
