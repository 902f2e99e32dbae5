"""Who is asking: API keys, access tokens of an OpenID Connect provider, and what both are checked
against.

Owns: the form of keys, their life (create, rotate, revoke, expire), the check on the hot path; the
form of access tokens, the provider's keys, the check of a token.
May import: config, store, audit, and the plain modules.
Never: stores, logs or prints a secret that it did not just make, reads a database for a request,
or lets a token say with what it is to be checked.
"""
