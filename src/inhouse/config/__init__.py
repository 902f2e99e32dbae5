"""The one file: what may stand in it, and what stands in it.

Owns: the schema of inhouse.toml, its strict reading (every problem at once), secrets, where each
value came from, and the generated sample; keys in files of their own, and whose the data directory
is; the options that all commands share, and times as people type them.
May import: the plain modules only.
Never: opens a connection, changes a value that it validates, or prints a secret.
"""
