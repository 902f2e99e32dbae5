"""Yes or no, and by which grant. Functions of values: no clock, no store.

    grants that stand now ──compile──► Rights ──decide──► the grant's id, or why not

What no grant allows is denied. A ceiling gives nothing. Of a pair of permissions that nobody may
have together, whoever has both by their grants has neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from inhouse.domain import Ceiling
from inhouse.errors import ConfigurationError, Problem
from inhouse.identity.permissions import PERMISSIONS
from inhouse.store.grants import StoredGrant

USE = "models:use"
MOST_REMEMBERED = 1024  # answers per user; clients choose the purpose
NEVER = float("inf")

Pair = tuple[str, str]


class Denied(StrEnum):
    """Why not."""

    NO_GRANT = "no grant allows it"
    SEPARATED = "the grants together break a separation of duties"
    MODEL = "no grant allows it with this model"
    PLACE = "no grant allows it over this dialect, or for this purpose"
    CEILING = "the credential does not allow it"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one grant allows of one permission; None for any."""

    grant: str
    models: frozenset[str] | None
    dialects: frozenset[str] | None
    purposes: frozenset[str] | None


class Rights:
    """What one user may do, until `until` (seconds since the epoch), when a grant ends."""

    __slots__ = ("broken", "grants", "permissions", "remembered", "roles", "rules", "until")

    def __init__(
        self,
        rules: Mapping[str, tuple[Rule, ...]],
        *,
        broken: tuple[Pair, ...] = (),
        roles: frozenset[str] = frozenset(),
        grants: tuple[str, ...] = (),
        until: float = NEVER,
    ) -> None:
        self.rules = rules
        self.permissions = frozenset(rules)
        self.broken = broken
        self.roles = roles
        self.grants = grants
        self.until = until
        self.remembered: dict[tuple[str, str | None, str | None, str | None], str | Denied] = {}

    def __repr__(self) -> str:
        return f"Rights({sorted(self.permissions)})"


NOTHING = Rights({})


def compiled(
    grants: Iterable[StoredGrant],
    roles: Mapping[str, frozenset[str]],
    separate: Iterable[Pair],
    now: float,
) -> Rights:
    """The rights that these grants come to at `now`. A role that is not there gives nothing."""
    standing = sorted(
        (grant for grant in grants if grant.stands(now)), key=lambda each: (each.created, each.id)
    )
    rules: dict[str, list[Rule]] = {}
    for grant in standing:
        rule = Rule(grant.id, _bound(grant.models), _bound(grant.dialects), _bound(grant.purposes))
        for permission in roles.get(grant.role, frozenset()):
            rules.setdefault(permission, []).append(rule)
    broken = tuple(pair for pair in separate if pair[0] in rules and pair[1] in rules)
    for pair in broken:
        for permission in pair:
            rules.pop(permission, None)
    return Rights(
        {permission: tuple(found) for permission, found in rules.items()},
        broken=broken,
        roles=frozenset(grant.role for grant in standing),
        grants=tuple(grant.id for grant in standing),
        until=min((g.expires for g in standing if g.expires is not None), default=NEVER),
    )


def decide(
    rights: Rights,
    permission: str,
    model: str | None = None,
    dialect: str | None = None,
    purpose: str | None = None,
    ceiling: Ceiling | None = None,
) -> str | Denied:
    """The id of the grant that allows it, or why none does.

    None for a model, a dialect or a purpose asks whether there is any with which it is allowed:
    for lists, and for permissions that have nothing to do with models.
    """
    if ceiling is not None and not _within(ceiling, permission, model, dialect, purpose):
        return Denied.CEILING
    question = (permission, model, dialect, purpose)
    answer = rights.remembered.get(question)
    if answer is None:
        answer = _decided(rights, *question)
        if len(rights.remembered) >= MOST_REMEMBERED:
            rights.remembered.clear()
        rights.remembered[question] = answer
    return answer


def pairs_of(texts: Iterable[str]) -> tuple[Pair, ...]:
    """access.separate as pairs. Raises ConfigurationError."""
    pairs, problems = [], []
    for text in texts:
        first, _, second = text.partition("+")
        if first in PERMISSIONS and second in PERMISSIONS and first != second:
            pairs.append((first, second))
        else:
            sentence = "must be two permissions, as 'audit:read+grants:write'; see docs/access.md"
            problems.append(Problem("access.separate", repr(text), sentence))
    if problems:
        raise ConfigurationError(problems)
    return tuple(pairs)


def _decided(
    rights: Rights,
    permission: str,
    model: str | None,
    dialect: str | None,
    purpose: str | None,
) -> str | Denied:
    rules = rights.rules.get(permission)
    if rules is None:
        separated = any(permission in pair for pair in rights.broken)
        return Denied.SEPARATED if separated else Denied.NO_GRANT
    answer = Denied.MODEL
    for rule in rules:
        if not _inside(model, rule.models):
            continue
        if _inside(dialect, rule.dialects) and _inside(purpose, rule.purposes):
            return rule.grant
        answer = Denied.PLACE
    return answer


def _within(
    ceiling: Ceiling,
    permission: str,
    model: str | None,
    dialect: str | None,
    purpose: str | None,
) -> bool:
    return (
        _inside(model, ceiling.models)
        and _inside(dialect, ceiling.dialects)
        and _inside(purpose, ceiling.purposes)
        and (ceiling.permissions is None or permission in ceiling.permissions)
    )


def _inside(asked: str | None, bound: frozenset[str] | None) -> bool:
    """Nothing asked: there is one, unless the bound lets nothing through."""
    return bound is None or (asked in bound if asked is not None else bool(bound))


def _bound(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
