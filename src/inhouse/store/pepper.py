"""The proof of the pepper under which digests are kept: which one it is, not what it is."""

import sqlalchemy as sa

from inhouse.store.tables import pepper


def proof_of(connection: sa.Connection) -> bytes | None:
    """None where no pepper was used yet, or none that was noted."""
    found = connection.execute(sa.select(pepper.c.proof)).scalar_one_or_none()
    return None if found is None else bytes(found)


def note_proof(connection: sa.Connection, proof: bytes) -> None:
    connection.execute(sa.insert(pepper).values(id=1, proof=proof))
