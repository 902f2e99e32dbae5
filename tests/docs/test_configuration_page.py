"""The page of the configuration is the schema's own words."""

from pathlib import Path

from inhouse.config.sample import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_schema_says() -> None:
    assert PAGE.read_text().endswith(reference())
