"""Nodes, and what runs on them. Today: the node's own embedded engine.

Owns: the child program that runs llama.cpp, its start, its restarts, its log, its end.
May import: config, store, audit, identity, upstream, and the plain modules.
Never: imports the gateway, lets an engine outlive the process that started it, or writes what
an engine says about a request.

Registry, desired against actual state and rollouts are not built yet.
"""
