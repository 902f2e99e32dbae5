"""Escapes of JSON are undone, wherever a text is cut."""

import json

from hypothesis import given
from hypothesis import strategies as st

from inhouse.dlp.plain import Plain, plain

CHARACTERS = st.characters(codec="utf-8", max_codepoint=0xFFFF)


@given(st.text(CHARACTERS), st.lists(st.integers(1, 9)), st.booleans())
def test_every_cut_reads_the_same(value: str, sizes: list[int], ascii_only: bool) -> None:
    text = json.dumps([value], ensure_ascii=ascii_only).replace("/", r"\/")
    reader, read = Plain(), ""
    for size in sizes:
        read += reader.read(text[:size])
        text = text[size:]
    assert read + reader.read(text) + reader.rest == f'["{value}"]'


def test_what_is_not_json_stays_as_it_is() -> None:
    assert plain(r"C:\new\u0041") == r"C:\new\u0041"
    assert plain(r'  {"a":"\u0034\q\u00') == r'  {"a":"4\q\u00'
    assert plain(r'["\ud83d"]') == '["\ufffd"]'
