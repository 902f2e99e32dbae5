"""Reads the header of a GGUF file: enough to know that it is one, whole, and what it is for.

    magic "GGUF" | version u32 | tensors u64 | pairs u64 | pairs ... | tensor infos ... | data

Layout: the GGUF specification, version 3 (little endian). Nothing of the data is read.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

EMBEDDING_ARCHITECTURES = frozenset({"bert", "nomic-bert", "jina-bert-v2", "gte", "t5encoder"})
DEFAULT_ALIGNMENT = 32
MAX_COUNT = 10_000_000  # of pairs, tensors or items: more is a corrupt file, not a model

_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
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

    @property
    def embeds(self) -> bool:
        return self.architecture in EMBEDDING_ARCHITECTURES


class NotAModel(Exception):
    """The file is no GGUF, or not all of it is there. `str()` says which, without the path."""


def read(path: Path) -> Gguf:
    """Read a header. Raises NotAModel, or OSError where the file cannot be read."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise NotAModel("is not a GGUF file: it does not begin with 'GGUF'")
        try:
            architecture, needed_bytes = _header(file)
        except (struct.error, EOFError, UnicodeDecodeError, OverflowError) as error:
            raise NotAModel("is broken: its header ends early or makes no sense") from error
    if needed_bytes > size_bytes:
        raise NotAModel(f"is not complete: {size_bytes} of {needed_bytes} bytes are there")
    return Gguf(architecture, size_bytes)


def _header(file: BinaryIO) -> tuple[str, int]:
    version, tensors, pairs = struct.unpack("<IQQ", _take(file, 20))
    if version not in (2, 3) or max(tensors, pairs) > MAX_COUNT:
        raise NotAModel(f"is a GGUF file of version {version}; 2 and 3 can be read")
    architecture, alignment = "", DEFAULT_ALIGNMENT
    for _ in range(pairs):
        name = _text(file)
        value = _value(file, _u32(file), keep=name in ("general.architecture", "general.alignment"))
        if name == "general.architecture":
            architecture = value.decode()
        elif name == "general.alignment":
            alignment = max(1, int.from_bytes(value, "little"))
    ends = [_tensor_end(file) for _ in range(tensors)]
    data_at = math.ceil(file.tell() / alignment) * alignment
    return architecture, data_at + max(ends, default=0)


def _tensor_end(file: BinaryIO) -> int:
    """The offset behind a tensor's data, from the beginning of all data."""
    _text(file)
    dimensions = _u32(file)
    shape = struct.unpack(f"<{dimensions}Q", _take(file, 8 * dimensions))
    kind, offset = struct.unpack("<IQ", _take(file, 12))
    per_block, block_bytes = _BLOCKS.get(kind, (1, 0))  # an unknown type: its size is not checked
    values: int = math.prod(shape)
    return int(offset) + values // per_block * block_bytes


def _value(file: BinaryIO, kind: int, *, keep: bool = False) -> bytes:
    if kind == _STRING:
        return _text(file).encode() if keep else _skip_text(file)
    if kind == _ARRAY:
        return _skip_array(file)
    if kind not in _FIXED:
        raise EOFError
    return _take(file, _FIXED[kind])


def _skip_array(file: BinaryIO) -> bytes:
    kind, count = struct.unpack("<IQ", _take(file, 12))
    if count > MAX_COUNT:
        raise EOFError
    if kind in _FIXED:
        file.seek(_FIXED[kind] * count, 1)
    else:
        for _ in range(count):
            _value(file, kind)
    return b""


def _text(file: BinaryIO) -> str:
    return _take(file, _length(file)).decode()


def _skip_text(file: BinaryIO) -> bytes:
    file.seek(_length(file), 1)
    return b""


def _length(file: BinaryIO) -> int:
    (length,) = struct.unpack("<Q", _take(file, 8))
    if length > MAX_COUNT:
        raise EOFError
    return int(length)


def _u32(file: BinaryIO) -> int:
    return int.from_bytes(_take(file, 4), "little")


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data
