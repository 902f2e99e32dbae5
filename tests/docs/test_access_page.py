"""The tables of roles and permissions are the code's own."""

from pathlib import Path

from inhouse.identity.permissions import reference

PAGE = Path(__file__).parents[2] / "docs" / "access.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text().endswith(reference())
