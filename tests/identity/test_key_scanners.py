"""Leaked keys are found by the rules that docs/keys.md gives for scanners, under the engines that
those use; and its checksum tells a key from a typing error."""

import math
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from inhouse.identity.token import PATTERN, id_of, new_id, new_token

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BEFORE, AFTER = r"(?:\A|[^0-9A-Za-z])", r"(?:\z|[^0-9A-Za-z])"  # GitHub's defaults


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


def fresh() -> str:
    return new_token(new_id()).secret.reveal()


def gitleaks() -> dict[str, Any]:
    (rule,) = tomllib.loads(block("toml"))["rules"]
    return dict(rule)


def trufflehog() -> str:
    found = re.search(r"key: '(.*)'", block("yaml"))
    assert found is not None
    return found[1]


RULES = {
    "gitleaks": gitleaks()["regex"],
    "trufflehog": trufflehog(),
    "github": f"{BEFORE}({PATTERN}){AFTER}",
    "bare": f"({PATTERN})",
}

LEAKS = (
    "{}", "key={}", 'key = "{}"', "export KEY='{}'\n", "Authorization: Bearer {}\r\n",
    "x-api-key: {}",
    "https://inhouse.test/v1?key={}&x=1", "{{\"key\":\"{}\"}}", "<key>{}</key>", "- {}\n- other",
    "# {}", "`{}`", "({})", "{},", "{}.", "{}\\n", "curl -H 'x-api-key: {}' http://h", "a\n{}\nb",
    "ключ: {}", "KEY:{}", "\t{}\t",
)  # fmt: skip
NOT_LEAKS = (
    "x{}", "{}x", "{}0", "9{}", "{}_", "a_{}b",
)  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_leaked_key_is_found_wherever_it_stands(name: str) -> None:
    rule = re2.compile(RULES[name])
    for leak in LEAKS:
        key = fresh()
        found = rule.search(leak.format(key))
        assert found is not None, leak
        assert found.group(1) == key


@pytest.mark.parametrize("name", ["gitleaks", "trufflehog"])
def test_a_part_of_something_longer_is_no_key(name: str) -> None:
    rule = re2.compile(RULES[name])
    for text in NOT_LEAKS:
        assert rule.search(text.format(fresh())) is None, text


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_of_what_every_engine_has(rule: str) -> None:
    """No look-around, no reference back, no modifier, nothing without an end: Hyperscan and RE2
    have none of them."""
    assert not re.search(r"\(\?[=!<]|\\[1-9]|\(\?[a-zA-Z]|[*+]|\{\d+,\}", rule)
    assert len(rule) < 1000


def test_the_page_and_the_code_have_the_same_expression() -> None:
    assert f"\n    {PATTERN}\n" in PAGE
    for rule in (gitleaks()["regex"], trufflehog()):
        assert PATTERN in rule
    assert gitleaks()["keywords"] == ["ihk_"]


def test_no_key_is_passed_over_for_its_entropy() -> None:
    """Gitleaks counts how often each character of a match is there."""
    least = gitleaks()["entropy"]
    for _ in range(5000):
        key = fresh()
        shares = [count / len(key) for count in Counter(key).values()]
        assert -sum(share * math.log2(share) for share in shares) > least
    example = "ihk_" + "x" * 10 + "_" + "x" * 43 + "_" + "x" * 6
    assert re.fullmatch(PATTERN, example)  # which a page may show, and which is passed over


# The checksum, by the code that the page gives


@cache
def of_the_page() -> Callable[[str], bool]:
    given: dict[str, Any] = {}
    exec(block("python"), given)  # noqa: S102 - our own page
    found: Callable[[str], bool] = given["is_whole"]
    return found


def is_whole(key: str) -> bool:
    return of_the_page()(key)


def test_every_key_that_is_made_is_whole() -> None:
    for _ in range(2000):
        assert is_whole(fresh())


def test_no_single_wrong_character_is_overlooked() -> None:
    for key in (fresh(), fresh()):
        for at, right in enumerate(key):
            for wrong in LETTERS + "_":
                if wrong != right:
                    assert not is_whole(key[:at] + wrong + key[at + 1 :]), (at, wrong)


def test_no_two_neighbours_change_places_unseen() -> None:
    for _ in range(200):
        key = fresh()
        for at in range(len(key) - 1):
            changed = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
            assert changed == key or not is_whole(changed), at


def test_no_character_is_lost_or_doubled_unseen() -> None:
    for _ in range(50):
        key = fresh()
        for at in range(len(key)):
            assert not is_whole(key[:at] + key[at + 1 :])
            assert not is_whole(key[:at] + key[at] + key[at:])


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_several_wrong_characters_are_seen(seed: int, wrong: int) -> None:
    chance = random.Random(seed)
    key = fresh()
    changed = list(key)
    places = [at for at, letter in enumerate(key) if at > 3 and letter != "_"]
    for at in chance.sample(places, wrong):
        changed[at] = chance.choice(LETTERS.replace(key[at], ""))
    assert not is_whole("".join(changed))  # one in four thousand million is not


def test_what_is_whole_need_not_be_known() -> None:
    """The checksum proves nothing; the gateway looks at the whole secret, and at nothing less."""
    made_up = fresh()
    assert is_whole(made_up)
    assert id_of(made_up.encode()) == made_up[4:14].encode()
