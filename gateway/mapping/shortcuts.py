"""Shortcuts: expressions that normalise a text in its usual form, inline in the generated fast path.

A shortcut gives the same result as the field's normaliser for every text that it accepts. It saves the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.mapping.phone import complete_phone

_PLAIN_EMAIL = re.compile(r"[a-z0-9._%+\-]{1,64}@(?:[a-z0-9\-]{1,63}\.){1,2}[a-z0-9\-]{2,24}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Python source about the text `x`."""

    accepts: str
    """Expression: whether the shortcut can be used for the text."""
    to_hash: str
    """Expression: the normalised text as UTF-8 bytes."""
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Functions that the expressions call, by name."""


EMAIL = Shortcut(
    "len(x) < 99 and is_plain_email(plain := x.strip().lower())", "plain.encode()", {"is_plain_email": _PLAIN_EMAIL}
)
PHONE = Shortcut("(digits := complete_phone(x)) is not None", "digits", {"complete_phone": complete_phone})
WORD = Shortcut("x.isascii() and x.isalpha() and len(x) < 32", "x.lower().encode()")
TRIMMED = Shortcut("0 < len(x) < 64 and not x.isspace()", "x.strip().encode()")
"""Only where an MD5 counts as a value: the shortcut does not look for one."""
