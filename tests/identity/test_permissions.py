"""Which role has which permission, written out: a change of either is a change of this table."""

import pytest

from inhouse.config.people import AccessSection
from inhouse.identity.permissions import PERMISSIONS, ROLES
from inhouse.identity.policy import pairs_of

COLUMNS = ("user", "service", "operator", "model-manager", "auditor", "admin", "reviewer", "scim")
TABLE = """
models:use         x x . x . . . .
models:read        x . x x x x . .
models:register    . . . x . . . .
models:promote     . . . x . . . .
engines:read       . . x x x x . .
engines:operate    . . x . . x . .
keys:own           x . x x . x . .
keys:read          . . . . x x . .
keys:write         . . . . . x . .
users:read         . . . . x x x .
users:write        . . . . . x . .
teams:read         . . . . x x x .
teams:write        . . . . . x . .
roles:read         . . . . x x x .
roles:write        . . . . . x . .
grants:read        . . . . x x x .
grants:write       . . . . . x . .
access:request     x . x x . x . .
access:read        . . . . x x . .
access:approve     . . . . . x . .
reviews:read       . . . . x x x .
reviews:write      . . . . . x . .
reviews:decide     . . . . . x x .
breakglass:use     . . x . . x . .
usage:read         . . x x x x . .
config:read        . . x x x x . .
config:write       . . . . . x . .
audit:read         . . . . x . . .
audit:verify       . . x . x x . .
scim:write         . . . . . . . x
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


def test_the_table_is_whole() -> None:
    assert [row[0] for row in ROWS] == list(PERMISSIONS)
    assert set(COLUMNS) == set(ROLES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_who_has_it(row: list[str]) -> None:
    for column, mark in zip(COLUMNS, row[1:], strict=True):
        assert (row[0] in ROLES[column].permissions) == (mark == "x"), column


def test_no_built_in_role_breaks_a_default_pair() -> None:
    for first, second in pairs_of(AccessSection().separate):
        for role in ROLES.values():
            assert not {first, second} <= role.permissions, role.name


def test_no_role_names_what_there_is_not() -> None:
    for role in ROLES.values():
        assert role.permissions <= set(PERMISSIONS)
        assert role.about
        assert "\n" not in role.about
