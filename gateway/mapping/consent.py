"""Consent of the customer, as RudderStack and Segment send it with an event.

An event is denied to a destination only by what it says. Without consent data it is not denied. Data of which the
categories cannot be read deny: consent is then not known, and must not be assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from gateway.config.settings import ConsentSettings
from gateway.mapping.json_path import at
from gateway.mapping.personal import is_personal_text

MAX_CATEGORY = 200
"""Characters of the longest name of a category."""


def denier(settings: ConsentSettings) -> Callable[[Any], bool]:
    """Make the function from an event to whether it denies the destination the consent that it needs."""
    categories = settings.categories
    provider = settings.provider.lower() if settings.provider else None

    def denies(event: Any) -> bool:
        context = event.get("context")
        if context.__class__ is not dict:
            return False
        management = context.get("consentManagement")
        preferences = context.get("consent")
        if preferences.__class__ is dict:
            preferences = preferences.get("categoryPreferences")
        if management.__class__ is not dict:
            if preferences.__class__ is not dict:
                return False
            management = {}
        denied = _denied_in_rudderstack(management, provider, categories)
        if preferences.__class__ is dict:
            denied = {*denied, *(name for name, given in preferences.items() if given is not True)}
        if not denied:
            return False
        resolution = settings.resolution
        if resolution is None:
            resolution = "or" if management.get("resolutionStrategy") in ("or", "any") else "and"
        if resolution == "or":
            return all(category in denied for category in categories)
        return any(category in denied for category in categories)

    return denies


def _denied_in_rudderstack(management: Any, provider: str | None, categories: Collection[str]) -> Collection[str]:
    """The denied categories of `context.consentManagement`; none if it is from another provider."""
    theirs = management.get("provider")
    if provider and theirs.__class__ is str and theirs.strip() and theirs.strip().lower() != provider:
        return ()
    denied, allowed = management.get("deniedConsentIds"), management.get("allowedConsentIds")
    if denied.__class__ is list:
        return {category.strip() for category in denied if category.__class__ is str}
    if allowed.__class__ is list or allowed.__class__ is dict:
        given = {category.strip() for category in allowed if category.__class__ is str}
        return [category for category in categories if category not in given]
    return categories if denied is not None else ()


def redacted(event: Any) -> Iterator[tuple[str, Any]]:
    """Paths and values that a redacted event keeps, so that it is denied as the original is when it is mapped again."""
    for name in ("provider", "resolutionStrategy"):
        path = f"context.consentManagement.{name}"
        text = at(event, path)
        if text.__class__ is str and _is_category(text):
            yield path, text
    for name in ("deniedConsentIds", "allowedConsentIds"):
        path = f"context.consentManagement.{name}"
        given = at(event, path)
        if given.__class__ is list or (given.__class__ is dict and name == "allowedConsentIds"):
            yield path, [category for category in given if category.__class__ is str and _is_category(category)]
        elif given is not None and name == "deniedConsentIds":
            yield path, True  # it cannot be read
    path = "context.consent.categoryPreferences"
    preferences = at(event, path)
    if preferences.__class__ is dict:
        yield path, {name: given is True for name, given in preferences.items() if _is_category(name)}


def _is_category(text: str) -> bool:
    return len(text) <= MAX_CATEGORY and not is_personal_text(text)
