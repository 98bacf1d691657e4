"""Which properties are passed on in `custom_data`, and what of them.

Never one whose name is an identity's, on any level: that would be unhashed personal data on its way to Meta. Never one
of a known name with a value of another type: Meta refuses the whole call for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gateway.mapping.fields import PERSONAL_NAMES

DEEPEST = 32
"""Levels of a property beyond which it is cut."""
REMEMBERED = 4096
"""Property names whose verdict is remembered."""

MAPPED = frozenset({"currency", "item_number", "order_id", "products", "upload_tag", "value"})
"""Properties that are never passed on as they stand, since a mapped field is made of them."""
OURS = frozenset({"contents", "content_type"})
"""Names that mapped fields have in `custom_data`."""

Verdict: TypeAlias = bool | Callable[[Any], bool]
"""Pass it on, leave it out, or ask about its value."""


def _is_text(value: Any) -> bool:
    return value.__class__ is str


def _is_number(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is float


def _is_texts(value: Any) -> bool:
    return value.__class__ is list and all(one.__class__ is str for one in value)


_TYPED: dict[str, Callable[[Any], bool]] = {
    "content_name": _is_text,
    "content_category": _is_text,
    "content_ids": _is_texts,
    "num_items": _is_number,
    "predicted_ltv": _is_number,
    "net_revenue": _is_number,
    "search_string": _is_text,
    "status": _is_text,
    "delivery_category": lambda value: value in {"in_store", "curbside", "home_delivery"},
    "lead_event_source": _is_text,
    "store_data": lambda value: value.__class__ is dict,
}
"""Fields of Meta's `custom_data` with a type of their own."""


def is_personal(name: str) -> bool:
    """Whether a property's name is an identity's, in any spelling."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "").replace(".", "")
    return plain in PERSONAL_NAMES


class Verdicts(dict[str, Verdict]):
    """What to do with a property, by name. Names are judged when first met."""

    def __missing__(self, name: str) -> Verdict:
        verdict: Verdict = not (name in MAPPED or name in OURS or is_personal(name))
        if verdict and name in _TYPED:
            verdict = _TYPED[name]
        if len(self) < REMEMBERED and len(name) <= 256:
            self[name] = verdict
        return verdict


def scrubbed(value: Any, depth: int = 1) -> Any:
    """A list or an object without what is personal in it, on any level; what is too deep becomes null."""
    if depth > DEEPEST:
        return None
    if value.__class__ is dict:
        return {
            name: scrubbed(inner, depth + 1) if inner.__class__ in {dict, list} else inner
            for name, inner in value.items()
            if not is_personal(name)
        }
    return [scrubbed(inner, depth + 1) if inner.__class__ in {dict, list} else inner for inner in value]
