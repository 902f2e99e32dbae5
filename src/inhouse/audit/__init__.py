"""The log: who asked which model for what, on whose right, and how it ended.

Owns: the records, their writing (one writer, group commit, a keyed chain), verifying, searching.
May import: config, store, and the plain modules.
Never: holds a prompt or an answer, acknowledges what is not on the disk, or forgives a gap.
"""
