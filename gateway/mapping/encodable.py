"""Copies of JSON values that can be encoded as JSON bytes."""

from __future__ import annotations

import math
from typing import Any

from gateway.mapping.custom_properties import MAX_DEPTH


def make_encodable(value: Any, depth: int = 0) -> Any:
    """A copy in which every value that cannot be encoded is null.

    These are texts and names with a lone surrogate, integers beyond 64 bits, NaN, infinities, and values below
    `MAX_DEPTH` levels. A name that cannot be encoded is left out with its value.
    """
    match value:
        case str():
            return value if not any("\ud800" <= char <= "\udfff" for char in value) else None
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else None
        case float():
            return value if math.isfinite(value) else None
        case dict() if depth < MAX_DEPTH:
            return {
                name: make_encodable(inner, depth + 1)
                for name, inner in value.items()
                if isinstance(name, str) and make_encodable(name) is not None
            }
        case list() if depth < MAX_DEPTH:
            return [make_encodable(inner, depth + 1) for inner in value]
        case _:
            return None
