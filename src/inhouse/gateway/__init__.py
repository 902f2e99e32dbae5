"""The data plane: one request, top to bottom. Begin reading at `pipeline.py`.

Owns: the listener, the strict reading of HTTP, the stages of the request path, the answers that
the gateway gives itself (model lists, health, metrics).
May import: config, store, audit, identity, dlp, upstream, and the plain modules.
Never: awaits a database, forwards what a client sent without having named it, shows a truncated
answer as complete, or lets a request reach an engine without its record.
"""
