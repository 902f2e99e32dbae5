"""Reads the header of a GGUF file: enough to know that it is one, whole, and what it is for.

    magic "GGUF" | version u32 | tensors u64 | pairs u64 | pairs ... | tensor infos ... | data

Layout: the GGUF specification, version 3 (little endian). Nothing of the data is read.
"""

import math
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from inhouse.config.paths import opened

EMBEDDING_ARCHITECTURES = frozenset({"bert", "nomic-bert", "jina-bert-v2", "gte", "t5encoder"})
DEFAULT_ALIGNMENT = 32
MAX_PAIRS = 100_000  # more, of these and of the next, is a broken file and not a model
MAX_TENSORS = 1_000_000
MAX_TEXTS = 4_000_000  # in lists of them, all together: the largest vocabulary holds 0.3 million
MAX_ITEMS = 1 << 32  # in a list of numbers
MAX_TEXT_BYTES = 10_000_000
MAX_DIMENSIONS = 8  # llama.cpp knows 4
MAX_BYTES = 1 << 62

_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_UNSIGNED = (4, 10)
_BLOCKS = {  # ggml type: values per block, bytes per block
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 20: (32, 18), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 30: (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gguf:
    """What a model file says of itself."""

    architecture: str
    size_bytes: int
    trained_tokens: int  # the context that it was trained for; 0 where it does not say

    @property
    def embeds(self) -> bool:
        return self.architecture in EMBEDDING_ARCHITECTURES


class NotAModel(Exception):
    """The file is no GGUF, or not all of it is there. `str()` says which, without the path."""


def read(path: Path) -> Gguf:
    """Read a header. Raises NotAModel, or OSError where the file cannot be read."""
    with opened(path) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotAModel("is not a regular file")
        if file.read(4) != b"GGUF":
            raise NotAModel("is not a GGUF file: it does not begin with 'GGUF'")
        try:
            header = _Header(file)
        except (struct.error, EOFError, UnicodeDecodeError, OverflowError) as error:
            raise NotAModel("is broken: its header ends early or makes no sense") from error
    if header.needed_bytes > found.st_size:
        raise NotAModel(
            f"is not complete: {found.st_size} of {header.needed_bytes} bytes are there"
        )
    return Gguf(header.architecture, found.st_size, header.trained_tokens)


class _Header:
    """Reads a header from behind its magic. Raises NotAModel, EOFError and what struct raises."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._texts = 0
        self._alignment = DEFAULT_ALIGNMENT
        self._contexts: dict[str, int] = {}
        self.architecture = ""
        version, tensors, pairs = struct.unpack("<IQQ", self._take(20))
        if version not in (2, 3):
            raise NotAModel(f"is a GGUF file of version {version}; 2 and 3 can be read")
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            raise NotAModel(f"is broken: it claims to hold {tensors} tensors and {pairs} values")
        for _ in range(pairs):
            self._pair()
        ends = [self._tensor_end() for _ in range(tensors)]
        data_at = -(-file.tell() // self._alignment) * self._alignment
        self.needed_bytes = data_at + max(ends, default=0)
        self.trained_tokens = self._contexts.get(f"{self.architecture}.context_length", 0)
        if self.needed_bytes > MAX_BYTES:
            raise NotAModel("is broken: its tensors are larger than any disk")

    def _pair(self) -> None:
        name, kind = self._text(), self._u32()
        if name == "general.architecture" and kind == _STRING:
            self.architecture = self._text()
            return
        value = self._value(kind)
        if name == "general.alignment" and kind in _UNSIGNED:
            self._alignment = max(1, int.from_bytes(value, "little"))
        elif name.endswith(".context_length") and kind in _UNSIGNED:
            self._contexts[name] = int.from_bytes(value, "little")

    def _tensor_end(self) -> int:
        """The offset behind a tensor's data, from the beginning of all data."""
        self._text()
        dimensions = self._u32()
        if dimensions > MAX_DIMENSIONS:
            raise NotAModel(f"is broken: a tensor claims {dimensions} dimensions")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        kind, offset = struct.unpack("<IQ", self._take(12))
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))  # an unknown type: not checked
        values: int = math.prod(shape)
        return int(offset) + values // per_block * block_bytes

    def _value(self, kind: int) -> bytes:
        if kind == _STRING:
            self._skip_text()
            return b""
        if kind == _ARRAY:
            self._skip_array()
            return b""
        if kind not in _FIXED:
            raise EOFError
        return self._take(_FIXED[kind])

    def _skip_array(self) -> None:
        kind, count = struct.unpack("<IQ", self._take(12))
        if kind in _FIXED:
            if count > MAX_ITEMS:
                raise EOFError
            self._file.seek(_FIXED[kind] * count, os.SEEK_CUR)
            return
        self._texts += count
        if kind != _STRING or self._texts > MAX_TEXTS:  # a list of lists is no GGUF
            raise EOFError
        for _ in range(count):
            self._skip_text()

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _skip_text(self) -> None:
        self._file.seek(self._length(), os.SEEK_CUR)

    def _length(self) -> int:
        (length,) = struct.unpack("<Q", self._take(8))
        if length > MAX_TEXT_BYTES:
            raise EOFError
        return int(length)

    def _u32(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data
