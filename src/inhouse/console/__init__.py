"""The admin API over the rooms' services. Begin reading at `routes.py`, the table, and `api.py`,
which answers one request.

Owns: the routes of the admin listener under /admin/, who may call them, their documents.
May import: config, store, audit, identity, dlp, upstream, fleet, planner, deploy, compliance, and
the plain modules.
Never: has a rule of its own about what it shows or changes, blocks the event loop, or answers
somebody who is not both known and allowed.
"""
