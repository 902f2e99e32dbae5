"""The page of errors and the codes are one list."""

import re
from pathlib import Path

from inhouse.errors import Code

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_every_code_is_explained_once_and_no_other() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(code.value for code in Code)
