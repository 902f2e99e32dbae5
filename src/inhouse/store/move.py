"""Everything that one database holds, into another one, whichever each of them is."""

import sqlalchemy as sa

from inhouse.errors import NegativeAnswer
from inhouse.store.pepper import proof_of
from inhouse.store.tables import metadata, pepper, revision, sessions

ROWS_AT_ONCE = 1000
_OWN = (pepper, revision, sessions)  # which each database has for itself


def refuse_copy(source: sa.Connection, target: sa.Connection) -> None:
    """Raise NegativeAnswer where `target` holds anything, or the peppers are not the same."""
    if proof_of(source) not in (None, proof_of(target)):
        raise NegativeAnswer("its keys are kept under another pepper; put that one here first")
    for table in _shared():
        if target.execute(sa.select(table).limit(1)).first() is not None:
            raise NegativeAnswer(f"the database here is not empty: it has {table.name}")


def copy_all(source: sa.Connection, target: sa.Connection) -> None:
    """Every row, tables that others refer to first."""
    for table in _shared():
        for rows in source.execute(sa.select(table)).mappings().partitions(ROWS_AT_ONCE):
            target.execute(sa.insert(table), [dict(row) for row in rows])


def _shared() -> list[sa.Table]:
    return [table for table in metadata.sorted_tables if table not in _OWN]
