"""Texts that senders choose contain no character that drives a terminal, starts a line or reorders a text."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.escaping import ascii_json, printable

ANY_TEXT = st.text(st.characters(codec=None))
DANGEROUS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode: control, format (bidirectional overrides are among these), surrogate, line, paragraph."""


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("spring sale", "spring sale"),
        ("Zürich 東京 ✓", "Zürich 東京 ✓"),
        ("a\\b", "a\\b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("one\r\ntwo\x0b\x0c\x85\u2028\u2029", "one\\x0d\\x0atwo\\x0b\\x0c\\x85\\u2028\\u2029"),
        ("\x00\x07\x7f\x9b31m", "\\x00\\x07\\x7f\\x9b31m"),
        ("\u202eevil\u2066\u200f\ufeff", "\\u202eevil\\u2066\\u200f\\ufeff"),
        ("\ud800\U000e0041", "\\ud800\\U000e0041"),
    ],
)
def test_characters_that_are_not_printable_are_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_no_dangerous_character_of_unicode_is_left() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in DANGEROUS:
            assert printable(f"a{chr(code)}b").isascii(), hex(code)


@given(ANY_TEXT)
def test_the_result_is_one_printable_line_that_is_not_escaped_again(text: str) -> None:
    escaped = printable(text)
    assert escaped.isprintable()
    assert len(escaped.splitlines()) <= 1
    assert printable(escaped) == escaped
    escaped.encode()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON_VALUES)
def test_json_keeps_its_value_and_becomes_ascii_without_control_characters(value: Any) -> None:
    encoded = json.dumps(value, ensure_ascii=False).encode()
    escaped = ascii_json(encoded)
    assert json.loads(escaped) == value
    assert all(0x20 <= byte < 0x7F for byte in escaped)


def test_json_that_is_not_utf_8_becomes_json_with_replacement_characters() -> None:
    assert json.loads(ascii_json(b'{"a":"\xff\x7f\xf0\x9f\x98\x80"}')) == {"a": "\ufffd\x7f\U0001f600"}
