"""How often each match key was there, and why it was dropped: plain integers that the compiled mapper counts up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.mapping.fields import IDENTITY
from gateway.model import Dialect
from gateway.telemetry import Coverage, KeyCoverage

CAUSES: Mapping[str, str] = {
    "malformed": "No usable value of its kind.",
    "no_country": "A phone number without a country code, and no country known.",
    "md5": "An MD5, which Meta cannot match.",
    "empty_hash": "The hash of the empty string.",
    "not_hashed": "Not a SHA-256 although `hashing` is false.",
    "too_long": "Longer than any value of its kind.",
}
"""Why a match key was dropped."""

NOTES: Mapping[str, str] = {
    "default_value_used": "The event had no value; `default_value` was sent.",
    "default_currency_used": "The event had no usable currency; `default_currency` was sent.",
    "purchase_without_value": "A purchase was sent with the default value.",
    "wrong_type": "A value was of the wrong type and counted as absent.",
    "product_without_id": "A product without an ID was left out.",
    "unusable_property": "A property could not be passed on, such as a text with half a character.",
}
"""What else is counted."""


@dataclass(slots=True)
class Counters:
    """What the compiled mapper writes."""

    seen: dict[tuple[str, ...], int] = field(default_factory=lambda: defaultdict(int))
    """Events by the match keys that they were sent with: one addition an event, whatever it has."""
    dropped: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """By field and cause: the rare way, a dictionary."""
    notes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def snapshot(self, dialect: Dialect) -> Coverage:
        """The counts as they are now."""
        present: dict[str, int] = defaultdict(int)
        for shape, count in list(self.seen.items()):
            for key in shape:
                present[key] += count
        dropped = sorted(self.dropped.items())
        keys = {
            one.name: KeyCoverage(
                present=max(present[key] for key in (one.key(dialect) or "none").split(", ")),
                dropped={cause: count for (name, cause), count in dropped if name == one.name},
            )
            for one in IDENTITY
        }
        return Coverage(sum(self.seen.values()), keys, dict(sorted(self.notes.items())))
