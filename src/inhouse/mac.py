"""HMAC-SHA256 under one key (RFC 2104), made ready once.

What `hmac.digest` gives, at a third of the cost for short messages: it sets up the algorithm and
the key each time, and a request is worth five of them.
"""

import hashlib

_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Mac:
    """Signs under one key. Any number of threads may use it."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))

    def __repr__(self) -> str:
        return "Mac(***)"

    def digest(self, *message: bytes) -> bytes:
        """32 bytes, of all pieces of a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        for piece in message:
            inner.update(piece)
        outer.update(inner.digest())
        return outer.digest()
