"""The page of the admin API is the table's own words."""

from pathlib import Path

from inhouse.console.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "admin-api.md"


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text().endswith("\n" + reference())
