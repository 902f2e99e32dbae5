"""Cuts an embedding to the size that was asked for, as models made for it are meant to be cut: the
first numbers of it, brought to length 1.
"""

import base64
import binascii
import math
import sys
from array import array

import msgspec

from inhouse.errors import Code, EngineError, Refusal

_FLOATS = msgspec.json.Decoder(list[float] | str)


def cut(vector: msgspec.Raw, dimensions: int) -> msgspec.Raw:
    """A vector of at most `dimensions` numbers, in the form in which it came: a list, or base64 of
    32-bit floats. One that is no longer than that is not touched. Raises EngineError."""
    numbers = _numbers(vector)
    if len(numbers) <= dimensions:
        return vector
    kept = shortened(numbers, dimensions)
    is_text = bytes(memoryview(vector)[:1]) == b'"'
    return msgspec.Raw(msgspec.json.encode(_packed(kept) if is_text else kept))


def too_few(model: str, size: int, dimensions: int) -> Refusal:
    """The refusal of a size that a model's vectors do not have."""
    sentence = f"dimensions: '{model}' gives vectors of {size} numbers, not of {dimensions}"
    return Refusal(Code.NOT_SPOKEN, 400, sentence, param="dimensions")


def size_of(vector: msgspec.Raw) -> int:
    """How many numbers it has."""
    return len(_numbers(vector))


def shortened(numbers: list[float], dimensions: int | None) -> list[float]:
    kept = numbers[:dimensions]
    length = math.sqrt(sum(number * number for number in kept)) or 1.0
    return [number / length for number in kept]


def _numbers(vector: msgspec.Raw) -> list[float]:
    try:
        given = _FLOATS.decode(vector)
    except msgspec.DecodeError as error:
        raise EngineError(f"sent what is no embedding: {error}") from error
    return _unpacked(given) if isinstance(given, str) else given


def _unpacked(text: str) -> list[float]:
    try:
        numbers = array("f", base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise EngineError("sent an embedding that is no base64 of numbers") from error
    return _little(numbers).tolist()


def _packed(numbers: list[float]) -> str:
    return base64.b64encode(_little(array("f", numbers)).tobytes()).decode()


def _little(numbers: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
