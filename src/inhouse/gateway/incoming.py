"""A request's body on its way in: counted by its length, or in chunks."""

from inhouse.gateway.http1 import ChunkedBody


class Body:
    """What came of a body, and what is still to come."""

    __slots__ = ("_chunked", "_pieces", "came", "left", "most_bytes")

    def __init__(self, length: int) -> None:
        """`length` is in bytes; below 0 for a body in chunks."""
        self.left = length
        self.most_bytes = -1  # that may come; -1 while nobody has asked for it
        self.came = 0  # bytes of it so far, whether kept or too much
        self._chunked = ChunkedBody() if length < 0 else None
        self._pieces: list[bytes] = []

    @property
    def wanted(self) -> bool:
        """Somebody who may send a body asked for it."""
        return self.most_bytes >= 0

    def within(self, data: bytes) -> bool:
        """Whether it is all in these bytes, which nobody has asked for yet."""
        return 0 <= self.left <= len(data) and self.most_bytes < 0

    def feed(self, data: bytes) -> bytes | None:
        """Take what arrived. Once the body is whole, what came behind it; None before that.

        Raises Malformed. Of a body that is too large nothing is kept.
        """
        excess: bytes | None = None
        if self._chunked is not None:
            piece = self._chunked.feed(data)
            if self._chunked.done:
                excess = self._chunked.excess
        else:
            piece = data[: self.left]
            self.left -= len(piece)
            if not self.left:
                excess = data[len(piece) :]
        self.came += len(piece)
        if self.came <= self.most_bytes:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
        return excess

    def taken(self) -> bytes:
        """All that came; kept no longer."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
