"""Embeddings of a size: cut where they are longer, refused where they are shorter."""

import base64
import struct

import msgspec
import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation
from inhouse.errors import Code, EngineError, Refusal
from inhouse.upstream.dialects.shapes import Reader
from inhouse.upstream.dialects.table import parse, render
from inhouse.upstream.dialects.vectors import cut


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def test_the_first_numbers_are_kept_and_brought_to_length_one() -> None:
    assert msgspec.json.decode(cut(raw([3.0, 4.0, 12.0]), 2)) == [0.6, 0.8]
    text = msgspec.json.decode(cut(raw(packed(3, 4, 12)), 2))
    assert struct.unpack("<2f", base64.b64decode(text)) == pytest.approx((0.6, 0.8))
    assert msgspec.json.decode(cut(raw([0.0, 0.0, 1.0]), 2)) == [0.0, 0.0]


@pytest.mark.parametrize("vector", [[3.0, 4.0], packed(3, 4)])
def test_what_is_not_longer_is_not_touched(vector: object) -> None:
    assert cut(raw(vector), 2) == raw(vector)


@pytest.mark.parametrize("vector", ["AA", "?", 7, None, ["a"], {}])
def test_what_is_no_embedding_is_the_engines_fault(vector: object) -> None:
    with pytest.raises(EngineError, match="embedding"):
        cut(raw(vector), 2)


def reader(kind: EngineKind = EngineKind.EMBEDDED) -> Reader:
    body = b'{"model":"alias","input":["a","b"],"dimensions":2}'
    ask = parse(Operation.EMBEDDING, body, LimitsSection(), frozenset())
    made = render(ask, kind, "served", None, lambda: 0.0)
    assert msgspec.json.decode(made.body)["dimensions"] == 2
    return made.reader


def answer(*vectors: object) -> bytes:
    data = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return msgspec.json.encode({"model": "served", "data": data, "usage": {"prompt_tokens": 2}})


@pytest.mark.parametrize("kind", [EngineKind.EMBEDDED, EngineKind.VLLM, EngineKind.OPENAI])
def test_an_answer_has_the_size_that_was_asked_for(kind: EngineKind) -> None:
    read = reader(kind)
    read.feed(answer([3.0, 4.0, 12.0], [0.0, 1.0]))
    read.finish()
    said = msgspec.json.decode(read.ending)
    assert [each["embedding"] for each in said["data"]] == [[0.6, 0.8], [0.0, 1.0]]
    assert said["model"] == "alias"


def test_a_vector_that_is_too_short_is_no_answer() -> None:
    read = reader()
    read.feed(answer([1.0], [1.0]))
    with pytest.raises(Refusal, match="'alias' gives vectors of 1 numbers, not of 2") as caught:
        read.finish()
    assert (caught.value.code, caught.value.param) == (Code.NOT_SPOKEN, "dimensions")
    assert not read.complete


def test_a_broken_vector_is_the_engines_fault() -> None:
    read = reader()
    read.feed(answer("?", [1.0, 2.0]))
    read.finish()
    assert read.fault == "sent an embedding that is no base64 of numbers"
