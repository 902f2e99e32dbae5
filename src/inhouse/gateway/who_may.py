"""Which role may call which route of the clients' listener. `python -m inhouse.gateway.who_may`
writes the table anew into the page that it is given, docs/access.md."""

import sys
from pathlib import Path

from inhouse.gateway.routes import EVERY, Needs
from inhouse.identity.who_may import Row, put, table

HEADING = "### Clients' listener"


def rows() -> list[Row]:
    return [
        Row(
            " ".join(sorted(method.decode() for method in route.methods)),
            route.path,
            f"`{route.needs.value}`" if route.needs is Needs.USE else route.needs.value,
            frozenset({route.needs.value}) if route.needs is Needs.USE else frozenset(),
            known=route.needs is not Needs.NOTHING,
            allowed=route.needs is Needs.USE,
        )
        for route in EVERY
    ]


def reference() -> str:
    return table(rows())


def main() -> None:
    put(Path(sys.argv[1]), HEADING, reference())


if __name__ == "__main__":
    main()
