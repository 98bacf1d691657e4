"""Counters of one mapper: how often each match key was present, and why values were dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from gateway.mapping.fields import IDENTITY
from gateway.mapping.personal import is_personal_text
from gateway.model import Dialect
from gateway.telemetry import Coverage, KeyCoverage

CAUSES: Mapping[str, str] = {
    "malformed": "No usable value of its kind.",
    "no_country": "A phone number without a calling code, for which no country is known.",
    "md5": "An MD5, which Meta cannot match.",
    "empty_hash": "The hash of the empty string.",
    "not_hashed": "Not a SHA-256 although `hashing` is false.",
    "too_long": "Longer than any value of its kind.",
}
"""The causes for which a match key is dropped."""

NOTES: Mapping[str, str] = {
    "default_value_used": "The event had no value; `default_value` was sent.",
    "default_currency_used": "The event had no usable currency; `default_currency` was sent.",
    "purchase_without_value": "A purchase was sent with the default value.",
    "wrong_type": "A value was of the wrong type and counted as absent.",
    "product_without_id": "A product without an ID was left out.",
    "unusable_property": "A property could not be encoded, such as a text with half a surrogate pair.",
}
"""The other counters."""


MAX_LEFT_OUT = 100
"""Names of properties that are counted each for itself. Senders choose the names, so there may be any number."""
MAX_NAME = 60
"""Characters of the longest name that is counted for itself."""
OTHER_NAME = "(other)"
"""The name under which all others are counted, and those that look like a personal value."""


@dataclass(slots=True)
class Counters:
    """The counters that the compiled mapper increments."""

    seen: dict[tuple[str, ...], int] = field(default_factory=lambda: defaultdict(int))
    """Events by their match keys: one addition for an event, however many keys it has."""
    dropped: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Dropped values by field and cause."""
    notes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    left_out: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Properties that were left out because they look personal, by name."""

    def count_left_out(self, *names: Iterable[str]) -> None:
        """Count the properties of an event that were left out."""
        for name in chain.from_iterable(names):
            is_counted = name in self.left_out or (
                len(self.left_out) < MAX_LEFT_OUT and len(name) <= MAX_NAME and not is_personal_text(name)
            )
            self.left_out[name if is_counted else OTHER_NAME] += 1

    def snapshot(self, dialect: Dialect) -> Coverage:
        """The current counts, for the match keys of a dialect."""
        present: dict[str, int] = defaultdict(int)
        for shape, count in list(self.seen.items()):
            for key in shape:
                present[key] += count
        dropped = sorted(self.dropped.items())
        keys = {
            match_key.name: KeyCoverage(
                present=max(present[key] for key in match_key.keys(dialect)),
                dropped={cause: count for (name, cause), count in dropped if name == match_key.name},
            )
            for match_key in IDENTITY
            if match_key.keys(dialect)
        }
        left_out = dict(sorted(self.left_out.items()))
        return Coverage(sum(self.seen.values()), keys, dict(sorted(self.notes.items())), left_out)
