"""Converts the consent settings of a RudderStack destination, which may have several rules, to one rule.

RudderStack chooses a rule by the source of the event and the consent manager that the event names. The gateway has one
rule for a destination. Rules that differ are merged to the strictest, which never sends an event that RudderStack would
not send.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.cli.rudderstack.export import ConfigReader

DEFAULT_PROVIDER = "oneTrust"


@dataclass(frozen=True, slots=True)
class ConvertedConsent:
    """The setting `consent`."""

    settings: dict[str, Any]
    keys: Sequence[str]
    """The keys of the configuration from which it comes."""
    merged: bool
    """Whether there were several rules that differ."""


@dataclass(frozen=True, slots=True)
class _Rule:
    key: str
    provider: str
    categories: tuple[str, ...]
    resolution: str | None
    """None: as the event says."""


def convert_consent(reader: ConfigReader) -> ConvertedConsent | None:
    """The setting `consent`; None if the configuration has no rule."""
    rules = [*_managed(reader)]
    # The older form. An export has it beside the newer one, with the same categories.
    for key, name, provider, legacy_resolution in (
        ("oneTrustCookieCategories", "oneTrustCookieCategory", "oneTrust", "and"),
        ("ketchConsentPurposes", "purpose", "ketch", "or"),
    ):
        for place, rows in _by_source(reader.config.get(key), key):
            categories = tuple(reader.texts(rows, place, name))
            if categories and not any((rule.provider, rule.categories) == (provider, categories) for rule in rules):
                rules.append(_Rule(key, provider, categories, legacy_resolution))
    if not rules:
        return None
    merged = len({(rule.provider, rule.categories, rule.resolution) for rule in rules}) > 1
    providers = dict.fromkeys(rule.provider for rule in rules)
    resolution = "and" if merged else rules[0].resolution
    settings: dict[str, Any] = {"provider": rules[0].provider} if len(providers) == 1 else {}
    settings["categories"] = list(dict.fromkeys(category for rule in rules for category in rule.categories))
    settings |= {"resolution": resolution} if resolution else {}
    return ConvertedConsent(settings, list(dict.fromkeys(rule.key for rule in rules)), merged)


def _managed(reader: ConfigReader) -> Iterator[_Rule]:
    """The rules of `consentManagement`."""
    key = "consentManagement"
    for place, rows in _by_source(reader.config.get(key), key):
        for row_place, row in reader.rows(rows, place):
            if not isinstance(row, dict):
                reader.fault(row_place, "expected an object with provider and consents")
                continue
            provider = row.get("provider")
            provider = provider.strip() if isinstance(provider, str) and provider.strip() else DEFAULT_PROVIDER
            resolution = row.get("resolutionStrategy") or None
            if resolution not in (None, "and", "or"):
                reader.fault(f"{row_place}.resolutionStrategy", f"invalid value {resolution!r}; expected and or or")
            # RudderStack uses the resolution of the settings for its provider `custom` only, else that of the event.
            resolution = resolution if provider == "custom" else None
            if categories := tuple(reader.texts(row.get("consents"), f"{row_place}.consents", "consent")):
                yield _Rule(key, provider, categories, resolution)


def _by_source(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The lists of a value that is one list, or has one for each type of source."""
    if isinstance(value, dict):
        yield from ((f"{key}.{source}", rows) for source, rows in value.items())
    else:
        yield key, value
