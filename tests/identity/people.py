"""People, grants and clocks for the tests of reviews and of on- and offboarding."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from inhouse.audit.read import records
from inhouse.audit.record import Changed, KeyChanged
from inhouse.config.schema import Config
from inhouse.domain import Principal
from inhouse.identity.actor import Actor
from inhouse.identity.directory import View
from inhouse.identity.grants import Grants
from inhouse.identity.ledger import Ledger
from inhouse.identity.review_items import EVERYTHING, Scope
from inhouse.identity.reviews import Reviews
from inhouse.identity.teams import Teams
from inhouse.identity.users import Users
from inhouse.store.grants import StoredGrant
from inhouse.store.reviews import StoredReview

DAY_S = 86_400.0


@dataclass
class Hand:
    """A clock that is set by hand."""

    at: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Company:
    """One configuration, with a clock; `local` is whoever runs the tests."""

    config: Config
    clock: Hand = field(default_factory=Hand)

    def __post_init__(self) -> None:
        self.restart()
        self.local = Actor.local()

    def restart(self) -> None:
        """Nothing that was in memory is left."""
        self.ledger = Ledger(self.config, clock=self.clock)

    def person(self, name: str, *roles: str) -> str:
        """The id of somebody new, with grants of these roles."""
        user = Users(self.ledger).create(
            self.local, name, issuer="https://idp.example", subject=f"sub-{name}"
        )
        for role in roles:
            self.give(name, role)
        return user.id

    def team(self, name: str, *members: str) -> None:
        Teams(self.ledger).create(self.local, name)
        for member in members:
            Teams(self.ledger).add(self.local, name, member)

    def give(self, holder: str, role: str, kind: str = "user", **more: object) -> StoredGrant:
        return Grants(self.ledger).give(self.local, holder, role, kind=kind, **more)  # type: ignore[arg-type]

    def acting(self, name: str, *groups: str) -> Actor:
        """Somebody with what their grants give them now."""
        state = self.ledger.state()
        user = next(user for user in state.users if user.name == name)
        teams = frozenset(m.team_id for m in state.memberships if m.user_id == user.id)
        principal = Principal(
            f"oidc:{user.subject}", name, user.id, teams=teams, groups=frozenset(groups)
        )
        rights = View(state, self.ledger.separate).rights(user.id, frozenset(groups), self.clock())
        return Actor.of(principal, rights)

    def open(
        self, name: str = "q3", scope: Scope = EVERYTHING, *reviewers: str, days: float = 30
    ) -> StoredReview:
        return Reviews(self.ledger).open(
            self.local, name, due=self.clock.at + days * DAY_S, scope=scope,
            reviewers=reviewers or None,
        )  # fmt: skip

    def standing(self) -> set[str]:
        """The ids of grants that stand."""
        return {g.id for g in self.ledger.state().grants if g.stands(self.clock())}

    def records(self) -> list[Changed | KeyChanged]:
        every = records(self.config.audit_directory)
        return [each for each in every if isinstance(each, Changed | KeyChanged)]

    def sql(self, statement: str) -> None:
        with self.ledger.database.writing() as connection:
            connection.exec_driver_sql(statement)

    @contextlib.contextmanager
    def without_log(self) -> Iterator[None]:
        """The log's directory is not one."""
        directory = self.config.audit_directory
        aside = directory.with_name("aside")
        directory.rename(aside)
        directory.write_text("a file where the log should be")
        try:
            yield
        finally:
            directory.unlink()
            aside.rename(directory)


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """Every statement that a database is sent meanwhile."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
