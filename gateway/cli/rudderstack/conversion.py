"""Converts a RudderStack destination to the settings of a destination, and reports what that changes.

The report has a row for each key of the configuration that is set: it was carried over, or it has no counterpart. Rows
of a third sort name the differences in the uploads that follow from how the two programs work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.cli.rudderstack.consent import convert_consent
from gateway.cli.rudderstack.export import ConfigReader, ExportedDestination, Kind
from gateway.config.settings import ACTION_SOURCES
from gateway.mapping.personal import is_identity_name, is_personal_name
from gateway.mapping.routes import BUILT_IN, DEFAULT_STANDARD_EVENT, STANDARD_EVENTS

MAX_NAME = 40
CONSENT_KEYS = ("consentManagement", "oneTrustCookieCategories", "ketchConsentPurposes")


class Effect(StrEnum):
    """The sorts of rows in the report; the values are their headings."""

    CARRIED_OVER = "carried over"
    NO_COUNTERPART = "no counterpart"
    DIFFERENT = "different in the uploads"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    effect: Effect
    subject: str
    """The key of the configuration, or what is different."""
    sentence: str


@dataclass(slots=True)
class Conversion:
    """A converted destination."""

    name: str
    """The name in the settings."""
    label: str
    """The name in RudderStack."""
    kind: Kind
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def variable(self) -> str:
        """The beginning of the names of its environment variables, which is its own."""
        return self.name.upper()

    def carry(self, key: str, sentence: str) -> None:
        """Report a key that was carried over."""
        self.rows.append(Row(Effect.CARRIED_OVER, key, sentence))

    def leave(self, key: str, sentence: str) -> None:
        """Report a key that has no counterpart."""
        self.rows.append(Row(Effect.NO_COUNTERPART, key, sentence))

    def differ(self, subject: str, sentence: str) -> None:
        """Report a difference in the uploads."""
        self.rows.append(Row(Effect.DIFFERENT, subject, sentence))


def convert(exported: ExportedDestination, name: str | None, taken: Sequence[str]) -> tuple[Conversion, list[str]]:
    """Convert a destination, and list the errors in its configuration; with errors the result must not be used.

    `name` is the name in the settings; without it, it is made from the destination's name. `taken` are names in use.
    """
    label = exported.name or exported.kind
    conversion = Conversion(name or _free_name(label, taken), label, exported.kind)
    reader = ConfigReader(exported)
    settings = conversion.settings
    settings["api"] = "conversions"
    settings["access_token"] = {"env": f"{conversion.variable}_ACCESS_TOKEN"}
    if reader.has("accessToken"):
        conversion.carry("accessToken", f"not printed: put it into the variable {conversion.variable}_ACCESS_TOKEN.")
    if exported.kind is Kind.OFFLINE:
        _convert_offline(reader, conversion)
    else:
        _convert_conversions(reader, conversion)
    _convert_shared(reader, conversion)
    _report_rest(reader, conversion)
    return conversion, reader.faults


def _free_name(label: str, taken: Sequence[str]) -> str:
    """A name for the settings that is also part of the name of an environment variable: `meta_eu` for `Meta (EU)`."""
    name = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:MAX_NAME].strip("_") or "facebook"
    candidates = (name if number == 1 else f"{name}_{number}" for number in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)


def _convert_offline(reader: ConfigReader, conversion: Conversion) -> None:
    standards: dict[str, list[str]] = {}
    for _, event, standard in reader.pairs("eventsToStandard"):
        _append(standards, event, [standard])
    event_sets: dict[str, list[str]] = {}
    for place, standard, ids in reader.pairs("eventsToIds"):
        _append(event_sets, standard, reader.ids(ids, f"{place}.to"))
    if not event_sets and not reader.faults:
        reader.fault("eventsToIds", "missing; expected at least one standard event with the ID of a dataset")
    if value_field := reader.text("valueFieldIdentifier"):
        is_whole_path = value_field.startswith(("properties.", "traits.", "context."))
        if "." in value_field and not is_whole_path:
            value_field = f"properties.{value_field}"
        conversion.settings["value_field"] = value_field
        conversion.carry("valueFieldIdentifier", f"value_field: {value_field}.")
        if is_whole_path:
            conversion.differ(
                "value",
                f"RudderStack reads {value_field} below properties, mostly finds nothing, and takes properties.total; "
                "the gateway reads the path as it is written.",
            )
    if standards:
        conversion.settings["events_to_standard"] = standards
        conversion.carry("eventsToStandard", f"events_to_standard: {_count(standards, 'event name')}.")
    conversion.settings["standard_to_event_sets"] = event_sets
    count = _count({number for ids in event_sets.values() for number in ids}, "ID")
    conversion.carry("eventsToIds", f"standard_to_event_sets: {_count(event_sets, 'standard event')}, {count}.")
    for event, names in standards.items():
        for standard in names:
            if standard not in event_sets:
                conversion.leave(
                    "eventsToStandard",
                    f"{event!r} is mapped to {standard}, which has no ID: it goes nowhere, as in RudderStack, and "
                    "`gateway check` reports it.",
                )
    for subject, sentence in OFFLINE_DIFFERENCES.items():
        conversion.differ(subject, sentence)


def _convert_conversions(reader: ConfigReader, conversion: Conversion) -> None:
    key = "datasetId" if reader.has("datasetId") or not reader.has("pixelId") else "pixelId"
    ids = reader.ids(reader.text(key) or "", key)
    if not ids and not reader.faults:
        reader.fault(key, "missing; expected the ID of a dataset")
    standards = {event: [standard] for _, event, standard in reader.pairs("eventsToEvents")}
    # RudderStack sends an event under its own name, also one that is named like a standard event.
    own_names = {name: [name] for name in STANDARD_EVENTS if name not in standards and name != DEFAULT_STANDARD_EVENT}
    reachable = {standard for names in standards.values() for standard in names} | {*own_names, *BUILT_IN.values()}
    conversion.settings |= {
        # RudderStack reads properties.revenue first for this destination.
        "value_field": "properties.revenue",
        "events_to_standard": standards | own_names,
        "standard_to_event_sets": dict.fromkeys(sorted(reachable), ids),
        "extra_fields": {
            "event_id": ["traits.event_id", "context.traits.event_id"],
            "opt_out": ["traits.opt_out", "context.traits.opt_out"],
            "lead_id": ["context.lead_id"],
        },
    }
    conversion.carry(key, f"standard_to_event_sets: every standard event is sent to {', '.join(ids)}.")
    if standards:
        conversion.carry("eventsToEvents", f"events_to_standard: {_count(standards, 'event name')}.")
    _convert_action_source(reader, conversion)
    _convert_test_mode(reader, conversion)
    _convert_properties(reader, conversion)
    for subject, sentence in CONVERSIONS_DIFFERENCES.items():
        conversion.differ(subject, sentence)


def _convert_action_source(reader: ConfigReader, conversion: Conversion) -> None:
    action_source = reader.text("actionSource")
    if action_source is None:
        conversion.differ(
            "action_source", "an event without one has the gateway's default, physical_store; RudderStack sends none."
        )
    elif action_source not in ACTION_SOURCES:
        reader.fault("actionSource", f"invalid value {action_source!r}; expected one of {', '.join(ACTION_SOURCES)}")
    else:
        conversion.settings["action_source"] = action_source
        conversion.carry("actionSource", f"action_source: {action_source}, for events without one.")
    if action_source == "website":
        conversion.differ(
            "website events",
            "an event without context.userAgent or context.page.url is rejected (website_incomplete); RudderStack "
            "sends it, and Meta refuses it.",
        )
    if action_source == "app":
        conversion.differ(
            "app events",
            "the gateway takes app_data from properties.app_data and rejects an event without (app_incomplete); "
            "RudderStack builds it from context.",
        )


def _convert_test_mode(reader: ConfigReader, conversion: Conversion) -> None:
    code, is_test = reader.text("testEventCode"), reader.switch("testDestination")
    if code and is_test:
        conversion.settings["test_event_code"] = code
        conversion.carry("testDestination", "test_event_code, because the test mode is on.")
    elif code:
        conversion.leave("testEventCode", "left out, because the test mode is off.")
    elif is_test:
        conversion.leave("testDestination", "the test mode is on, but there is no testEventCode to send.")


def _convert_properties(reader: ConfigReader, conversion: Conversion) -> None:
    allow, block = "whitelistPiiProperties", "blacklistPiiProperties"
    allowed = reader.texts(reader.config.get(allow), allow, allow)
    if passed := [name for name in allowed if not is_identity_name(name)]:
        conversion.settings["allow_properties"] = passed
        conversion.carry(allow, f"allow_properties: {', '.join(passed)}.")
    if identities := [name for name in allowed if is_identity_name(name)]:
        conversion.leave(allow, f"{', '.join(identities)}: an identity is never sent in custom_data, only hashed.")
    for place, entry in reader.rows(reader.config.get(block), block):
        row = entry if isinstance(entry, dict) else {}
        name = row.get(block)
        if not isinstance(name, str) or not name.strip():
            continue
        if is_personal_name(name.strip()):
            conversion.leave(place, f"{name.strip()!r} is left out of custom_data, because its name looks personal.")
        elif row.get("blacklistPiiHash"):
            conversion.leave(
                place,
                f"RudderStack hashes the property {name.strip()!r}; the gateway sends it as it is. Stop sending it.",
            )


def _convert_shared(reader: ConfigReader, conversion: Conversion) -> None:
    settings = conversion.settings
    limited = reader.switch("limitedDataUSage")
    if limited is not None:
        settings["limited_data_usage"] = limited
        conversion.carry("limitedDataUSage", f"limited_data_usage: {str(limited).lower()}.")
    hashing = reader.switch("isHashRequired")
    if hashing is not None:
        settings["hashing"] = hashing
        conversion.carry("isHashRequired", f"hashing: {str(hashing).lower()}.")
    elif conversion.kind is Kind.OFFLINE:
        conversion.differ("isHashRequired", "it is not set: RudderStack then hashes nothing, the gateway hashes.")
    # RudderStack uses the last of several rows with the same category.
    if categories := {category: content for _, category, content in reader.pairs("categoryToContent")}:
        settings["category_to_content_type"] = categories
        count = _count(categories, "category", "categories")
        conversion.carry("categoryToContent", f"category_to_content_type: {count}.")
    consent = convert_consent(reader)
    if consent is not None:
        settings["consent"] = consent.settings
        conversion.carry(", ".join(consent.keys), f"consent: {', '.join(consent.settings['categories'])}.")
        if consent.merged:
            conversion.differ(
                "consent",
                "there are several rules, and the gateway has one for all sources: no category of any may be denied.",
            )


def _report_rest(reader: ConfigReader, conversion: Conversion) -> None:
    """Report the keys that have no counterpart, and the rows that were left out."""
    for place in reader.incomplete:
        conversion.leave(place, "only one of from and to is set; the row was left out.")
    known = SHARED_KEYS | (OFFLINE_KEYS if conversion.kind is Kind.OFFLINE else CONVERSIONS_KEYS)
    for key in sorted(reader.config):
        if key in known or not reader.has(key) or (key == "eventFilteringOption" and reader.config[key] == "disable"):
            continue
        conversion.leave(key, WITHOUT_COUNTERPART.get(key, "not used by the gateway."))


def _append(table: dict[str, list[str]], name: str, values: Sequence[str]) -> None:
    """Add the values that are not there yet."""
    entry = table.setdefault(name, [])
    entry += [value for value in dict.fromkeys(values) if value not in entry]


def _count(things: Mapping[str, Any] | set[str], noun: str, plural: str | None = None) -> str:
    return f"{len(things)} {noun if len(things) == 1 else plural or noun + 's'}"


SHARED_KEYS = frozenset({"accessToken", "categoryToContent", "isHashRequired", "limitedDataUSage", *CONSENT_KEYS})
OFFLINE_KEYS = frozenset({"eventsToIds", "eventsToStandard", "valueFieldIdentifier"})
CONVERSIONS_KEYS = frozenset(
    {
        *("actionSource", "datasetId", "pixelId", "eventsToEvents", "testDestination", "testEventCode"),
        *("blacklistPiiProperties", "whitelistPiiProperties"),
    }
)
WITHOUT_COUNTERPART = {
    "blacklistedEvents": "the gateway does not filter by name: leave the event's standard event without an ID.",
    "whitelistedEvents": "the gateway does not filter by name: leave the event's standard event without an ID.",
    "eventFilteringOption": "the gateway does not filter by name: leave the event's standard event without an ID.",
    "removeExternalId": "the gateway always sends the external ID; stop sending userId and anonymousId.",
    "connectionMode": "the gateway is always between sender and Meta, as RudderStack's cloud mode.",
    "useNativeSDK": "the gateway is always between sender and Meta, as RudderStack's cloud mode.",
}
OFFLINE_DIFFERENCES = {
    "format": "events go to Meta's Conversions API; Meta shut the Offline Conversions API down in May 2025.",
    "IDs": "each must be the ID of a dataset; offline event sets became datasets.",
    "identity": "values are normalised as Meta documents before they are hashed; RudderStack hashes them as they came.",
    "birthday": "RudderStack sends the same hash for every birthday; the gateway sends the customer's.",
    "external ID": "it is sent as its hash; RudderStack sends it as it is. Set hash_external_id = false to keep that.",
    "custom_data": "without what looks personal; RudderStack sends properties such as phone numbers as they are.",
    "action_source": "an event without one has physical_store; RudderStack sends none.",
    "event_id": "it is messageId, so that Meta recognises an event that was sent twice.",
    "old events": "those that Meta refuses are rejected (event_time_too_old); RudderStack sends them.",
}
CONVERSIONS_DIFFERENCES = {
    "identity": (
        "phone, birthday, city, state, zip and country are normalised as Meta documents; RudderStack hashes them as "
        "they came, or in lower case only."
    ),
    "other events": (
        "RudderStack sends an event that is not mapped under its own name; the gateway rejects it (unmapped_event) "
        "until it is in events_to_standard and standard_to_event_sets."
    ),
    "event names": "the case of letters matters; RudderStack ignores it.",
    "page and screen": "RudderStack sends these calls as PageView; the gateway sends only track calls.",
    "value": (
        "both read properties.revenue first; then the gateway reads total, price and value, and RudderStack value, "
        "price and total."
    ),
    "contents": "products are sent as contents; RudderStack repeats them as content_ids and num_items.",
    "custom_data": "without what looks personal; RudderStack leaves out the names of identities only.",
    "user_data": (
        "RudderStack also sends subscription_id, fb_login_id and anon_id, and reads city, state, zip and country from "
        "context.geo."
    ),
}
