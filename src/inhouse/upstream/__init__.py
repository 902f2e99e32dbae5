"""Engines seen from outside: connections, health, choice, and the dialects they speak.

Owns: the pool of connections to engines, what is known of their health, which one is chosen,
and the translation between what a client says and what an engine understands.
May import: config, and the plain modules.
Never: decides who may ask, or sees a credential of a client.
"""
