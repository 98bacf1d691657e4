"""Advice for more matches, in the order of its effect. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.config import DestinationSettings
from gateway.console.formats import percent
from gateway.mapping.coverage import CAUSES
from gateway.telemetry import Coverage

WEIGHTS: Mapping[str, float] = {
    "email": 1.0,
    "phone": 0.9,
    "external_id": 0.5,
    "lead_id": 0.5,
    "fbc": 0.5,
    "fbp": 0.4,
    "madid": 0.4,
    "first_name": 0.15,
    "last_name": 0.15,
    "birthday": 0.15,
    "zip": 0.15,
    "city": 0.1,
    "country": 0.1,
}
"""How much a match key helps, roughly: those that name one person by themselves first (Meta: best practices for the
Conversions API). Used only to order the advice."""
SENT_BY_SHOPS = ("email", "phone", "external_id", "last_name", "zip", "country")
"""Match keys that a store, a call centre or a CRM usually knows."""
ENOUGH = 0.8
"""Share of events with a match key from which on there is no advice to send it more often."""
LEAST = 0.01
"""Share of events below which a cause is not worth a sentence."""
MAX_ADVICE = 8


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do."""

    sentence: str
    share: float
    """Share of the events that it affects, 0 to 1."""
    effect: float
    """The share, weighted by how much the match key helps."""
    setting: str = ""
    """Name of the setting that helps, if there is one."""


def advise(coverage: Coverage | None, destination: DestinationSettings) -> list[Advice]:
    """What would improve the match keys of a destination, that with the most effect first."""
    if coverage is None or not coverage.events:
        return []
    found = [*_dropped(coverage, destination), *_missing(coverage), *_notes(coverage)]
    return sorted((each for each in found if each.share >= LEAST), key=lambda each: -each.effect)[:MAX_ADVICE]


def _dropped(coverage: Coverage, destination: DestinationSettings) -> Iterable[Advice]:
    """For values that are sent and cannot be used."""
    for name, key in coverage.keys.items():
        for cause, count in key.dropped.items():
            share = count / coverage.events
            sentence, setting = _dropped_sentence(label_of(name), cause, share, destination)
            yield Advice(sentence, share, share * WEIGHTS.get(name, 0.1), setting)


def _dropped_sentence(label: str, cause: str, share: float, destination: DestinationSettings) -> tuple[str, str]:
    begin = f"{percent(share)} of the events have a {label} that is dropped: "
    match cause:
        case "no_country" if destination.default_country is None:
            text = "it has no calling code, and no country is known. Set `default_country`, or send the country."
            return begin + text, "default_country"
        case "no_country":
            return begin + "it does not fit the country. Send phone numbers with their calling code.", ""
        case "md5":
            return begin + "it is an MD5 hash. Send it unhashed, or as SHA-256.", ""
        case "not_hashed":
            return begin + "it is not hashed, although `hashing` is false. Hash it, or set `hashing`.", "hashing"
        case "empty_hash":
            return begin + "it is the hash of the empty text. Leave empty values out.", ""
        case _:
            return begin + CAUSES.get(cause, cause)[0].lower() + CAUSES.get(cause, cause)[1:], ""


def _missing(coverage: Coverage) -> Iterable[Advice]:
    """For match keys that are rarely sent."""
    for name in SENT_BY_SHOPS:
        key = coverage.keys.get(name)
        if key is None:
            continue
        present = key.present / coverage.events
        if present < ENOUGH:
            absent = max(0.0, 1 - present - sum(key.dropped.values()) / coverage.events)
            sentence = f"{percent(absent)} of the events have no {label_of(name)}. Send it where it is known."
            yield Advice(sentence, absent, absent * WEIGHTS[name] / 2)


def _notes(coverage: Coverage) -> Iterable[Advice]:
    texts = {
        "default_value_used": "have no value, so `default_value` is sent. Send `properties.total`, see `value_field`.",
        "default_currency_used": "have no usable currency, so `default_currency` is sent. Send `properties.currency`.",
    }
    for note, text in texts.items():
        share = coverage.notes.get(note, 0) / coverage.events
        if share:
            yield Advice(f"{percent(share)} of the events {text}", share, share * 0.2)


LABELS: Mapping[str, str] = {
    "external_id": "customer ID",
    "madid": "mobile advertiser ID",
    "lead_id": "lead ID",
    "client_user_agent": "user agent",
    "client_ip_address": "IP address",
    "fbc": "click ID (fbc)",
    "fbp": "browser ID (fbp)",
    "phone": "phone number",
    "zip": "postal code",
}


def label_of(name: str) -> str:
    """A match key in words."""
    return LABELS.get(name, name.replace("_", " "))


def ordered(names: Iterable[str]) -> Sequence[str]:
    """Match keys, those that help most first."""
    return sorted(names, key=lambda name: -WEIGHTS.get(name, 0.0))
