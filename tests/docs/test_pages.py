"""Documents that cannot lie about links, commands, metrics and the form of keys."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from inhouse.cli import app
from inhouse.identity.token import PATTERN
from inhouse.telemetry import Metrics
from inhouse.upstream.fake_engine import Faults

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"(?:`|\$ |^    )inhouse ([a-z][a-z-]+)", re.MULTILINE)


def verbs() -> set[str]:
    groups = {group.name for group in app.registered_groups}
    commands = {
        each.name or (each.callback.__name__ if each.callback else "")
        for each in app.registered_commands
    }
    return {str(name) for name in groups | commands}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in targets if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    assert set(COMMAND.findall(page.read_text())) <= verbs()


def test_every_metric_is_explained() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for metric in Metrics().registry.collect():
        assert f"`{metric.name}" in page, f"{metric.name} is not in docs/operations.md"


def test_the_form_of_keys_is_the_one_that_is_made() -> None:
    assert f"    {PATTERN}\n" in (ROOT / "docs" / "keys.md").read_text()


def test_every_field_of_a_fault_is_explained_with_its_default() -> None:
    page = (ROOT / "docs" / "fake-engine.md").read_text()
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|:]+?)(?:: \w+)? \| .*\|$", page, re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    faults = msgspec.to_builtins(Faults())
    assert told.keys() == faults.keys()
    assert {name: json.loads(default.strip("`")) for name, default in told.items()} == faults


def test_the_readme_counts_the_packages_that_are_installed() -> None:
    pinned = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    count = sum("==" in line for line in pinned)
    assert f"    installing {count} packages ..." in (ROOT / "README.md").read_text()
