"""Who is asking, and what they may do: API keys, access tokens of an OpenID Connect provider,
people who log in there, users, teams, roles, grants.

Owns: the form of keys, the check of keys and of tokens, the decision who may do what, every change
of any of these; login with a browser, sessions and their cookies, `inhouse login`, what an
authenticating proxy says, what the provider provisions.
May import: config, store, audit, and the plain modules.
Never: stores, logs or prints a secret that it did not just make, reads a database for a request,
or lets a token say with what it is to be checked.

On the request path, all in memory: `directory.Directory`.

    check(key, now) -> Principal | None
    person(issuer, subject, groups, name=, now=) -> Principal | None   # None: deactivated
    rights(principal, now) -> Rights
    allows(principal, permission, now, model=, dialect=, purpose=) -> grant id | Denied

For commands and for the admin API: services over one `Ledger(config)`. Each call takes who acts
first, checks their permission, and returns values; from an event loop it belongs in a thread.
`Actor.local()` is a command, `Actor.of(principal, directory.rights(principal, now))` a request.

    Users(ledger)     list(a)  unseen(a, days)  show(a, user) -> Shown
                      create(a, name, issuer=, subject=, email=, source=)
                      change(a, user, new_name=, email=)
                      deactivate|reactivate|remove(a, user, reason)
    Teams(ledger)     list(a) -> [(team, [users])]
                      create(a, name, source=)  remove(a, team, reason)
                      add|take_away(a, team, user)
    Roles(ledger)     list(a) -> [Role]  put(a, name, permissions, about)  remove(a, name, reason)
    Grants(ledger)    list(a, user=, every=)  revoke(a, grant_id, reason)
                      give(a, holder, role, kind=, bounds=Bounds(...), expires=, reason=)
                      break_glass(a, role, reason=, minutes=, user=)
    Requests(ledger)  list(a, every=)  ask(a, role, reason=, bounds=, until=, user=)
                      approve(a, request_id, note) -> StoredGrant  deny(a, request_id, note)
    Keys(config, actor=a, ledger=ledger)
                      list()  create(name, models=, dialects=, purposes=, expires=, user=) -> Made
                      revoke(key)  rotate(key, overlap_s=)

Users and teams are named by id or by name. Times are seconds since the epoch. Errors: NotPermitted
(403), NotThere (404), any other NegativeAnswer (409), UsageError (400; DatabaseAway 503),
AuditUnavailable (503).
"""
