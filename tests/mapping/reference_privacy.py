"""Privacy rules of the reference mapper: consent, what looks personal, and the parameters of URLs."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import unquote, unquote_plus

import phonenumbers

from gateway.config import DestinationSettings
from gateway.model import JsonObject
from tests.mapping.reference_tables import PERSONAL_NAMES, PERSONAL_PARTS, PERSONAL_WORDS
from tests.mapping.reference_values import DEEPEST, at, make_encodable, plain


def is_denied(event: JsonObject, destination: DestinationSettings) -> bool:
    """Whether the consent in an event denies it to the destination."""
    consent = destination.consent
    if consent is None:
        return False
    denied = segment_denials(event) | rudderstack_denials(event, consent.provider, consent.categories)
    theirs = at(event, "context.consentManagement.resolutionStrategy")
    resolution = consent.resolution or ("or" if theirs in {"or", "any"} else "and")
    decisions = [category in denied for category in consent.categories]
    return all(decisions) if resolution == "or" else any(decisions)


def segment_denials(event: JsonObject) -> set[str]:
    preferences = at(event, "context.consent.categoryPreferences")
    if not isinstance(preferences, dict):
        return set()
    return {name for name, given in preferences.items() if given is not True}


def rudderstack_denials(event: JsonObject, provider: str | None, categories: tuple[str, ...]) -> set[str]:
    given = at(event, "context.consentManagement")
    if not isinstance(given, dict):
        return set()
    theirs = given.get("provider")
    if provider and isinstance(theirs, str) and theirs.strip() and theirs.strip().lower() != provider.lower():
        return set()
    denied, allowed = given.get("deniedConsentIds"), given.get("allowedConsentIds")
    if isinstance(denied, list):
        return {category.strip() for category in denied if isinstance(category, str)}
    if isinstance(allowed, list | dict):
        return set(categories) - {category.strip() for category in allowed if isinstance(category, str)}
    return set(categories) if denied is not None else set()


def looks_personal(text: str) -> bool:
    """Whether a text contains an email address, or is an IP address or a phone number in international form."""
    if contains_email(text):
        return True
    text = text.strip()
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return True
    digits = re.sub(r"[\s().\-/]", "", text)
    if re.fullmatch(r"[+＋]\d{7,15}", digits):
        return True
    if not re.fullmatch(r"00[1-9]\d{6,14}", digits, re.ASCII):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits[2:]}"))
    except phonenumbers.NumberParseException:
        return False


def contains_email(text: str) -> bool:
    text = re.sub("%40", "@", text).replace("＠", "@")
    return re.search(r"[\w.%+'\-]@([\w\-]+[.．])+[^\W\d_]{2}", text) is not None


def is_personal_name(name: str) -> bool:
    """Whether a property's name is that of an identity, or looks like one, or like a personal value."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    return (
        plain(name) in PERSONAL_NAMES
        or any(part in plain(name) for part in PERSONAL_PARTS)
        or any(word in PERSONAL_WORDS for word in words)
        or looks_personal(name)
    )


def without_personal_parts(url: str) -> str:
    """A URL without its personal parameters, its user, a path with an email address and a personal fragment."""

    def is_personal(parameter: str) -> bool:
        name, _, value = parameter.partition("=")
        if name == "fbclid":
            return False
        return is_personal_name(unquote_plus(name)) or looks_personal(unquote(value))

    rest, hash_mark, fragment = url.partition("#")
    rest, _, query = rest.partition("?")
    match = re.fullmatch(r"(?s)(.*?://)?([^/]*)(/.*)?", rest)
    assert match
    scheme, host, path = match[1] or "", match[2], match[3] or ""
    if scheme:
        host = re.sub(r"(?s).*@", "", host)
    elif contains_email(unquote(host)):
        host = ""
    if contains_email(unquote(path)):
        path = "/"
    parameters = [each for each in query.split("&") if not is_personal(each)]
    pieces = [piece for piece in re.split("[?&]", fragment) if "=" in piece]
    if any(map(is_personal, pieces)) or contains_email(unquote(fragment)):
        hash_mark = fragment = ""
    changed = len(parameters) < len(query.split("&"))
    question = "?" if "?" in url.partition("#")[0] and (parameters or not changed) else ""
    return scheme + host + path + question + "&".join(parameters) + hash_mark + fragment


def passed_on(value: Any, allowed: tuple[str, ...], screened: bool = True, depth: int = 0) -> Any:
    """The value without personal names and texts at any depth. A value that cannot be encoded becomes null.

    A text that is left out is the value `...`.
    """
    if depth > DEEPEST:
        return None
    match value:
        case dict():
            kept = {}
            for key, inner in value.items():
                if make_encodable(key) is None or plain(key) in PERSONAL_NAMES:
                    continue
                if is_personal_name(key) and key not in allowed:
                    continue
                passed = passed_on(inner, allowed, key not in allowed, depth + 1)
                if passed is not ...:
                    kept[key] = passed
            return kept
        case list():
            entries = [passed_on(inner, allowed, screened, depth + 1) for inner in value]
            return [entry for entry in entries if entry is not ...]
        case str():
            text = make_encodable(value)
            if text is None or not screened:
                return text
            if re.match(r"\s*https?://", text, re.IGNORECASE):
                return without_personal_parts(text)
            return ... if looks_personal(text) else text
        case int():
            return value if -(2**63) <= value < 2**64 else None
        case _:
            return value
