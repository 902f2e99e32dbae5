"""What SECURITY.md names as tested is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_is_named_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    rows = [line for line in page.splitlines() if line.count("|") == 4 and "`" in line]
    named = {path for row in rows for path in re.findall(r"`((?:tests|docs|src)/[^`]+)`", row)}
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
