"""Finds sensitive data in texts and in streams of text.

Owns: the rules, their validators, and the screening of a text that comes in pieces.
May import: config, and the plain modules.
Never: does I/O, keeps or repeats a value that it found, or runs a pattern of more than linear time.
"""
