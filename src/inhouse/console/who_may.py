"""Which role may call which route of the admin API. `python -m inhouse.console.who_may` writes the
table anew into the page that it is given, docs/access.md."""

import sys
from pathlib import Path

from inhouse.console.routes import TABLE
from inhouse.identity.who_may import Row, put, table

HEADING = "### Admin listener"


def rows() -> list[Row]:
    return [
        Row(
            "GET HEAD" if route.method == "GET" else route.method,
            route.path,
            "any permission of this table" if route.permission is None else f"`{route.permission}`",
            TABLE.permissions if route.permission is None else frozenset({route.permission}),
        )
        for route in TABLE.routes
    ]


def reference() -> str:
    return table(rows())


def main() -> None:
    put(Path(sys.argv[1]), HEADING, reference())


if __name__ == "__main__":
    main()
