"""Which properties are passed on in `custom_data`, and what of them.

Never one whose name is an identity's, on any level: that would be unhashed personal data on its way to Meta. Never one
of a known name with a value of another type: Meta refuses the whole call for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from gateway.mapping.fields import PERSONAL_NAMES

MAX_DEPTH = 32
"""Levels of a property beyond which it is cut."""
MAX_CACHED = 1024
"""PropertyRules, and property names, whose verdict is remembered."""
MAX_NAMES = 64
MAX_NAMES_LENGTH = 1024
"""Properties, and characters of their names, beyond which a shape is not remembered."""

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
    "delivery_category": lambda value: value.__class__ is str and value in {"in_store", "curbside", "home_delivery"},
    "lead_event_source": _is_text,
    "store_data": lambda value: value.__class__ is dict,
}
"""Fields of Meta's `custom_data` with a type of their own."""


def is_personal(name: str) -> bool:
    """Whether a property's name is an identity's, in any spelling."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "").replace(".", "")
    return plain in PERSONAL_NAMES


class PropertyRules(dict[tuple[str, ...], Sequence[tuple[str, Verdict]]]):
    """What to do with the properties of an event, by their names: senders have few shapes of events.

    Those that are left out are not in the list. `personal` are more names that are an identity's.
    """

    def __init__(self, personal: Iterable[str] = ()) -> None:
        super().__init__()
        self._left_out = {*MAPPED, *OURS, *personal}
        self._verdicts: dict[str, Verdict] = {}

    def __missing__(self, names: tuple[str, ...]) -> Sequence[tuple[str, Verdict]]:
        shape = [(name, verdict) for name in names if (verdict := self._verdict(name)) is not False]
        if len(names) <= MAX_NAMES and sum(map(len, names)) <= MAX_NAMES_LENGTH:
            if len(self) >= MAX_CACHED:
                self.clear()
            self[names] = shape
        return shape

    def _verdict(self, name: str) -> Verdict:
        verdict = self._verdicts.get(name)
        if verdict is None:
            verdict = not (name in self._left_out or is_personal(name))
            if verdict and name in _TYPED:
                verdict = _TYPED[name]
            if len(self._verdicts) < MAX_CACHED and len(name) <= MAX_NAMES_LENGTH:
                self._verdicts[name] = verdict
        return verdict


def remove_path(tree: dict[str, Any], path: Sequence[str]) -> None:
    """Take out what stands at a path, if something does."""
    *parents, leaf = path
    for parent in parents:
        inner = tree.get(parent)
        if inner.__class__ is not dict:
            return
        tree = inner
    tree.pop(leaf, None)


def scrub(value: Any, depth: int = 1) -> Any:
    """A list or an object without what is personal in it, on any level; what is too deep becomes null."""
    if depth > MAX_DEPTH:
        return None
    if value.__class__ is dict:
        return {
            name: scrub(inner, depth + 1) if inner.__class__ in {dict, list} else inner
            for name, inner in value.items()
            if not is_personal(name)
        }
    return [scrub(inner, depth + 1) if inner.__class__ in {dict, list} else inner for inner in value]
