"""Who is asking: API keys, and the snapshot of them that requests are checked against.

Owns: the form of keys, their life (create, rotate, revoke, expire), the check on the hot path.
May import: config, store, audit, and the plain modules.
Never: stores, logs or prints a secret that it did not just make, or reads a database for a request.
"""
