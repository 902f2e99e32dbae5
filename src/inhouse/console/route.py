"""What a route is, and how a raw path is matched against a table of them.

A path is compared byte for byte. Nothing is decoded: a path with an escape in it matches nothing,
so that there is one way to write each address.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from inhouse.identity.permissions import PERMISSIONS

_PARAMETER = re.compile(r"\{(\w+)\}")
_VALUE = r"(?P<{}>[A-Za-z0-9][A-Za-z0-9._-]{{0,63}})"
MOST_PATH_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path: who may use it, what comes, what is done, what is answered."""

    method: str
    path: str  # with parameters: "/admin/v1/keys/{key_id}"
    permission: str | None  # None: whoever has any permission of the table
    handler: Callable[..., Any]
    """Called in a thread, with a Call, the path's parameters, and `body` and `query` by name where
    the route has them. Raises Refusal."""
    summary: str
    answer: Any  # its type
    body: Any = None  # its type; None where none may come
    query: Any = None  # its type; None where none may come
    status: int = 200  # of success
    deadline_s: float = 15.0
    slow: bool = False  # waits for the few places of what takes long

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(_PARAMETER.findall(self.path))


@dataclass(frozen=True, slots=True)
class Place:
    """One path, and what may be done there."""

    routes: dict[bytes, Route]

    @property
    def allowed(self) -> bytes:
        """The methods, as `Allow` lists them."""
        return b", ".join(sorted(self.routes))


class Table:
    """The routes, ready to be found."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self.permissions = frozenset(r.permission for r in self.routes if r.permission is not None)
        unknown = self.permissions - PERMISSIONS.keys()
        if unknown:
            raise ValueError(f"there is no permission {', '.join(sorted(unknown))}")
        by_path: defaultdict[str, dict[bytes, Route]] = defaultdict(dict)
        for route in self.routes:
            methods = [route.method, "HEAD"] if route.method == "GET" else [route.method]
            for method in methods:
                if method.encode() in by_path[route.path]:
                    raise ValueError(f"{method} {route.path} stands twice in the table")
                by_path[route.path][method.encode()] = route
        self._exact = {p.encode(): Place(m) for p, m in by_path.items() if not _PARAMETER.search(p)}
        self._templates = [
            (_pattern(path), Place(methods))
            for path, methods in by_path.items()
            if _PARAMETER.search(path)
        ]

    def find(self, path: bytes) -> tuple[Place, dict[str, str]] | None:
        """The place of a raw path, with the values of its parameters; None where there is none."""
        place = self._exact.get(path)
        if place is not None:
            return place, {}
        if len(path) > MOST_PATH_BYTES:
            return None
        for pattern, place in self._templates:
            match = pattern.fullmatch(path)
            if match is not None:
                return place, {name: value.decode() for name, value in match.groupdict().items()}
        return None


def _pattern(path: str) -> "re.Pattern[bytes]":
    pieces = _PARAMETER.split(path)  # text, name, text, name, ..., text
    pattern = "".join(
        _VALUE.format(piece) if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)
    )
    return re.compile(pattern.encode())
