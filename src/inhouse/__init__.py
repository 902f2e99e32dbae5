"""Inhouse: large language models inside the building."""

__version__ = "0.1.0"
