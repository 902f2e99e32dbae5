"""The number that goes up with every change, so that whoever watches asks for one number."""

import sqlalchemy as sa

from inhouse.store.tables import revision


def revision_of(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(revision.c.value)).scalar_one())


def bump(connection: sa.Connection) -> None:
    connection.execute(sa.update(revision).values(value=revision.c.value + 1))
