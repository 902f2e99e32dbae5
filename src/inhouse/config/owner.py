"""The data directory belongs to one user, and what writes into it runs as that user."""

import os
import pwd
from pathlib import Path

from inhouse.errors import UsageError


def require_owner(data: Path) -> None:
    """Raise UsageError where `data` is there and is another user's: what we would leave in it,
    its owner could not read."""
    try:
        owner = data.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{data} cannot be the data directory: {error.strerror}") from error
    if owner != os.geteuid():
        name = user_name(owner)
        raise UsageError(f"{data} belongs to {name}; run this as {name}")


def user_name(uid: int) -> str:
    """A user's name, or `uid:N` where the system knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
