"""The only SQL: tables, migrations, and the queries that the other rooms name.

Owns: the database (SQLite), its schema and its history.
May import: config, and the plain modules.
Never: is awaited by a request, or holds a secret that could be used as it stands.
"""
