"""Keyed fingerprints of prompts: who has the text finds its record, who has the log learns nothing.

HMAC-SHA256 in full, under a key that never leaves the data directory. A plain hash of a short
text is undone by guessing; a keyed one is not.
"""

from inhouse.mac import Mac


class Fingerprinter:
    """Makes fingerprints under one key."""

    def __init__(self, key: bytes) -> None:
        self._mac = Mac(key)

    def __repr__(self) -> str:
        return "Fingerprinter(***)"

    def of_text(self, text: str) -> str:
        """64 hexadecimal digits. The same as `of([text])`."""
        return self.of([text])

    def both(self, texts: list[str], last: str) -> tuple[str, str]:
        """Of all texts of a prompt, and of the last thing that the user said."""
        whole = self.of(texts)
        return whole, whole if len(texts) == 1 and texts[0] == last else self.of_text(last)

    def of(self, texts: list[str]) -> str:
        """Of several texts in order; each with its length, so that no two lists look alike."""
        pieces: list[bytes] = []
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            pieces += (b"%d:" % len(encoded), encoded)
        return self._mac.digest(*pieces).hex()
