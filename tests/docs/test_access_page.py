"""The tables of routes, roles and permissions are the code's own."""

from pathlib import Path

import pytest

from inhouse.console import who_may as console
from inhouse.gateway import who_may as gateway
from inhouse.identity.permissions import reference
from inhouse.identity.who_may import put

PAGE = Path(__file__).parents[2] / "docs" / "access.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text().endswith(reference())


@pytest.mark.parametrize("room", [gateway, console], ids=lambda room: room.HEADING)
def test_the_tables_of_routes_are_what_the_listeners_go_by(room: object, tmp_path: Path) -> None:
    heading, text = room.HEADING, room.reference()  # type: ignore[attr-defined]
    assert f"{heading}\n\n{text}\n" in PAGE.read_text()
    copy = tmp_path / "access.md"
    copy.write_text(PAGE.read_text().replace(text, "| stale |\n"))
    put(copy, heading, text)
    assert copy.read_text() == PAGE.read_text()
