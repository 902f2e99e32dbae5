"""The only SQL: tables, migrations, and the queries that the other rooms name.

Owns: the database (SQLite or PostgreSQL, through the same code), its schema and its history.
May import: config, and the plain modules.
Never: is awaited by a request, or holds a secret that could be used as it stands.

A new table is three things: its columns in `tables.py`, with a new SCHEMA_VERSION; the same as a
file in `migrations/versions/`, which both databases run; and a file here with its values and
statements, each of which takes a connection. Whoever changes it does so in `Database.changing()`,
which every watcher sees within a second. What only SQLite or only PostgreSQL knows stays in the
file of its name.
"""
