"""The requirements install from any index, and only what was pinned."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
PINNED = sorted(file.name for file in REQUIREMENTS.glob("*.txt"))
REQUIREMENT = re.compile(r"[a-z0-9-]+==[\w.+]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")


def requirements(name: str) -> list[str]:
    text = (REQUIREMENTS / name).read_text().replace("\\\n", " ")
    return [re.sub(r" +", " ", line) for line in text.splitlines()]


@pytest.mark.parametrize("name", PINNED)
def test_every_line_is_a_version_with_hashes_and_names_no_index(name: str) -> None:
    assert [line for line in requirements(name) if not REQUIREMENT.fullmatch(line)] == []


def test_each_list_is_pinned() -> None:
    assert sorted(f"{file.stem}.txt" for file in REQUIREMENTS.glob("*.in")) == PINNED


def test_the_product_is_tested_with_the_versions_it_runs_with() -> None:
    assert set(requirements("runtime.txt")) <= set(requirements("dev.txt"))


def test_what_the_product_declares_is_pinned() -> None:
    project = (REQUIREMENTS.parent / "pyproject.toml").read_text()
    declared = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert declared is not None
    names = re.findall(r'^ +"([\w-]+)', declared[1], re.MULTILINE)
    pinned = {line.partition("==")[0] for line in requirements("runtime.txt")}
    assert set(names) - pinned == set()
    assert "xllamacpp" in pinned
