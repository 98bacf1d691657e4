"""Selection of the properties that are passed on in `custom_data`.

A property with the name of an identity is never passed on, at any depth: it would be unhashed personal data sent to
Meta. Neither is a property with a name that Meta knows and a value of another type: Meta refuses the whole call for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from gateway.mapping.fields import CUSTOM
from gateway.model import Dialect

MAX_DEPTH = 32
"""Levels of a property that are passed on."""
MAX_CACHED = 1024
"""Entries of each cache: rules by shape (the names of an event's properties), and verdicts by name."""
MAX_NAMES = 64
"""Properties of the largest shape that is cached."""
MAX_NAMES_LENGTH = 1024
"""Characters in the names of the largest shape that is cached."""

NOT_PASSED_ON = frozenset(
    {
        *("products", "upload_tag", "content_type"),
        *(key for field in CUSTOM for dialect in Dialect for key in field.keys(dialect)),
    }
)
"""Properties that are replaced by mapped fields."""

Verdict: TypeAlias = bool | Callable[[Any], bool]
"""Whether a property is passed on, or a function of its value that decides it."""


def _is_text(value: Any) -> bool:
    return value.__class__ is str


def _is_number(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is float


def _is_texts(value: Any) -> bool:
    return value.__class__ is list and all(entry.__class__ is str for entry in value)


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
"""Fields of Meta's `custom_data` that accept only values of one type."""

PERSONAL_NAMES = frozenset(
    {
        "address",
        "birthdate",
        "birthday",
        "city",
        "customeremail",
        "customername",
        "customerphone",
        "dateofbirth",
        "dob",
        "email",
        "emailaddress",
        "familyname",
        "firstname",
        "fullname",
        "gender",
        "givenname",
        "lastname",
        "mobile",
        "mobilephone",
        "name",
        "phone",
        "phonenumber",
        "postalcode",
        "postcode",
        "sex",
        "state",
        "street",
        "surname",
        "telephone",
        "zip",
        "zipcode",
    }
)
"""Names of identities that are never passed on, in lower case without `_`, `-`, `.` and spaces."""


def is_personal(name: str) -> bool:
    """Whether a property has the name of an identity, in any spelling."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "").replace(".", "")
    return plain in PERSONAL_NAMES


class PropertyRules(dict[tuple[str, ...], Sequence[tuple[str, Verdict]]]):
    """The names of an event's properties, to those that are passed on, each with its verdict.

    Results are cached, because senders have few combinations of names.
    """

    def __init__(self, personal: Iterable[str] = ()) -> None:
        """`personal` are further names that are never passed on."""
        super().__init__()
        self._left_out = {*NOT_PASSED_ON, *personal}
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
    """Remove the value at a path, if there is one."""
    *parents, leaf = path
    for parent in parents:
        inner = tree.get(parent)
        if inner.__class__ is not dict:
            return
        tree = inner
    tree.pop(leaf, None)


def scrub(value: Any, depth: int = 1) -> Any:
    """A copy of a list or an object without personal names, at any depth. A value that is too deep becomes null."""
    if depth > MAX_DEPTH:
        return None
    if value.__class__ is dict:
        return {
            name: scrub(inner, depth + 1) if inner.__class__ in {dict, list} else inner
            for name, inner in value.items()
            if not is_personal(name)
        }
    return [scrub(inner, depth + 1) if inner.__class__ in {dict, list} else inner for inner in value]


def scrub_any(value: Any) -> Any:
    """A copy of any value without personal names in it."""
    return scrub(value) if value.__class__ in {dict, list} else value
