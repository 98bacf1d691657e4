"""Escapes characters that must not reach a terminal or a log line unchanged.

Senders and Meta choose parts of the texts that are printed. A control character could move the cursor or start a forged
line, and a bidirectional override could show a text in another order. This module imports no other of the package.
"""

from __future__ import annotations

import re

_NOT_PRINTABLE_ASCII = re.compile(r"[^\n -~]")


def printable(text: str) -> str:
    r"""The text on one line, with every character that is not printable as `\x1b`, `\u202e` or `\U000e0001`.

    Not printable are control characters, line breaks, separators other than the space, invisible format characters
    such as bidirectional overrides, surrogates, and code points that are not assigned (`str.isprintable`). A text that
    is printable is returned unchanged, so escaping twice is harmless.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def ascii_json(encoded: bytes) -> bytes:
    r"""JSON with every character but printable ASCII and line feeds as `\u...`, so that a terminal shows it unchanged.

    JSON escapes most control characters itself, but not DEL and those beyond ASCII. The input must not have tabs and
    carriage returns between its values. Invalid UTF-8 is replaced by U+FFFD.
    """
    return _NOT_PRINTABLE_ASCII.sub(_json_escape, encoded.decode(errors="replace")).encode()


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    """JSON's escape of one character: two surrogates beyond the basic plane."""
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
