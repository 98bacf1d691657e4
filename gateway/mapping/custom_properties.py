"""Selection of the properties that are passed on in `custom_data`.

A property with the name of an identity is never passed on, at any depth: it would be unhashed personal data sent to
Meta. The same holds for names and texts that look like personal data, except for the names of `allow_properties`.
Neither is a property passed on with a name that Meta knows and a value of another type: Meta refuses the whole call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from gateway.mapping.contents import DELIVERY_CATEGORIES
from gateway.mapping.fields import CONVERTED, CUSTOM, IDENTITY
from gateway.mapping.personal import is_identity_name, is_personal_name, without_personal_text
from gateway.model import Dialect

MAX_DEPTH = 32
"""Levels of a property that are passed on."""
MAX_CACHED = 1024
"""Entries of each cache: rules by shape (the names of an event's properties), and verdicts by name."""
MAX_NAMES = 64
"""Properties of the largest shape that is cached."""
MAX_NAMES_LENGTH = 1024
"""Characters in the names of the largest shape that is cached."""


def not_passed_on(dialect: Dialect) -> frozenset[str]:
    """Properties that are replaced by mapped fields."""
    fields = [*CUSTOM, *CONVERTED] if dialect is Dialect.CONVERSIONS else CUSTOM
    keys = [key for field in fields for key in field.keys(dialect)]
    return frozenset({*keys, "products", "upload_tag", "content_type"})


EVENT_PROPERTIES = frozenset(path.split(".")[1] for field in CONVERTED for path in field.paths)
"""Names of the properties from which the fields of `CONVERTED` are read."""
IDENTITY_PROPERTIES = frozenset(
    path.split(".")[1] for field in IDENTITY for path in field.paths if path.startswith("properties.")
)
"""Names of the properties that are read as identities. That they are not passed on is not worth counting."""

Verdict: TypeAlias = bool | Callable[[Any], bool]
"""Whether a property is passed on, or a function of its value that decides it."""


def is_text(value: Any) -> bool:
    """Whether a value is a string."""
    return value.__class__ is str


def is_number(value: Any) -> bool:
    """Whether a value is a number, which a boolean is not."""
    return value.__class__ is int or value.__class__ is float


def is_texts(value: Any) -> bool:
    """Whether a value is a list of strings."""
    return value.__class__ is list and all(entry.__class__ is str for entry in value)


def is_object(value: Any) -> bool:
    """Whether a value is an object."""
    return value.__class__ is dict


TYPED: dict[str, Callable[[Any], bool]] = {
    "content_name": is_text,
    "content_category": is_text,
    "content_ids": is_texts,
    "num_items": is_number,
    "predicted_ltv": is_number,
    "net_revenue": is_number,
    "search_string": is_text,
    "status": is_text,
    "delivery_category": lambda value: value.__class__ is str and value in DELIVERY_CATEGORIES,
    "lead_event_source": is_text,
    "store_data": is_object,
}
"""Fields of Meta's `custom_data` that accept only values of one type."""


class Shape(NamedTuple):
    """The result for the names of an event's properties."""

    passed_on: Sequence[tuple[str, Verdict, bool]]
    """Names that are passed on, each with its verdict, and whether its texts are screened for personal data."""
    left_out: Sequence[str]
    """Names that are left out because they are personal."""
    has_event_values: bool
    """Whether a field of `CONVERTED` may have its value from the properties."""


class PropertyRules(dict[tuple[str, ...], Shape]):
    """The names of an event's properties, to what is passed on of them.

    Results are cached, because senders have few combinations of names.
    """

    def __init__(self, not_passed_on: Iterable[str], personal: Iterable[str] = (), allowed: Iterable[str] = ()) -> None:
        """`personal` are further names that are never passed on; `allowed` are names whatever they look like."""
        super().__init__()
        self._replaced = frozenset(not_passed_on)
        self._personal = frozenset(personal)
        self.screen = Screen(allowed)
        self._verdicts: dict[str, Verdict] = {}

    def __missing__(self, names: tuple[str, ...]) -> Shape:
        passed_on = []
        left_out = []
        for name in names:
            if name in self._replaced:
                continue
            if verdict := self._verdict(name):
                passed_on.append((name, verdict, name not in self.screen.allowed))
            elif name not in IDENTITY_PROPERTIES:
                left_out.append(name)
        shape = Shape(passed_on, left_out, not EVENT_PROPERTIES.isdisjoint(names))
        if len(names) <= MAX_NAMES and sum(map(len, names)) <= MAX_NAMES_LENGTH:
            if len(self) >= MAX_CACHED:
                self.clear()
            self[names] = shape
        return shape

    def _verdict(self, name: str) -> Verdict:
        verdict = self._verdicts.get(name)
        if verdict is None:
            verdict = not (name in self._personal or self.screen.is_left_out(name))
            if verdict and name in TYPED:
                verdict = TYPED[name]
            if len(self._verdicts) < MAX_CACHED and len(name) <= MAX_NAMES_LENGTH:
                self._verdicts[name] = verdict
        return verdict


class Screen:
    """Removes personal names and texts from properties. `allowed` are names that are kept whatever they look like."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.allowed = frozenset(allowed)

    def is_left_out(self, name: str) -> bool:
        """Whether a property with this name is left out."""
        return is_identity_name(name) if name in self.allowed else is_personal_name(name)

    def value(self, name: str, value: Any, left_out: list[str]) -> Any:
        """A copy of a property's value without what is personal in it; None for a text that is.

        The names of what is left out are added to `left_out`.
        """
        is_screened = name not in self.allowed
        if value.__class__ is str:
            kept = without_personal_text(value) if is_screened else value
            if kept is None:
                left_out.append(name)
            return kept
        return self._inner(name, value, left_out, is_screened, 1) if value.__class__ in {dict, list} else value

    def _inner(self, name: str, value: Any, left_out: list[str], is_screened: bool, depth: int) -> Any:
        """A copy of a list or an object. A value that is too deep becomes null."""
        if depth > MAX_DEPTH:
            return None
        if value.__class__ is dict:
            copy = {}
            for key, inner in value.items():
                if self.is_left_out(key):
                    left_out.append(key)
                elif inner.__class__ in {dict, list}:
                    copy[key] = self._inner(key, inner, left_out, key not in self.allowed, depth + 1)
                elif inner.__class__ is not str or key in self.allowed:
                    copy[key] = inner
                elif (text := without_personal_text(inner)) is not None:
                    copy[key] = text
                else:
                    left_out.append(key)
            return copy
        entries = []
        for entry in value:
            if entry.__class__ in {dict, list}:
                entries.append(self._inner(name, entry, left_out, is_screened, depth + 1))
            elif entry.__class__ is not str or not is_screened:
                entries.append(entry)
            elif (text := without_personal_text(entry)) is not None:
                entries.append(text)
            else:
                left_out.append(name)
        return entries


def remove_path(tree: dict[str, Any], path: Sequence[str]) -> None:
    """Remove the value at a path, if there is one."""
    *parents, leaf = path
    for parent in parents:
        inner = tree.get(parent)
        if inner.__class__ is not dict:
            return
        tree = inner
    tree.pop(leaf, None)
