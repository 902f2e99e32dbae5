"""The node's side: today the embedded engine, started and watched as a process of its own.

Owns: the child program that runs llama.cpp, its start, its restarts, its end.
May import: config, store, audit, identity, upstream, and the plain modules.
Never: imports the gateway, or lets an engine outlive the process that started it.

Registry, desired against actual state and rollouts are not built yet.
"""
