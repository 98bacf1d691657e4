"""The reference mapper: a slow and plain implementation of the same mapping, without code generation.

It is written from the mapping rules and not from the compiled mapper: where the two differ, one of them is wrong. It
shares with the gateway only the types of `gateway.model` and of the settings.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.model import JsonObject, Lane, Mapped, MappedEvent, Rejection
from tests.mapping.reference_identity import Identity
from tests.mapping.reference_tables import ACTION_SOURCES, BUILT_IN, IDENTITY_KEYS, MAPPED_NAMES, PATHS, TOO_BROAD
from tests.mapping.reference_values import (
    LONGEST_VALUE,
    as_number,
    as_text,
    at,
    has_accepted_type,
    make_encodable,
    passed_on,
    remove_path,
    seconds_of,
    without_fraction,
)

DAY = 86_400
TOLERANCE = 300
"""Seconds that an event may lie in the future. Its time becomes now."""


class RejectedEvent(Exception):
    """The event is rejected; the argument is the code."""


def map_event(
    name: str, destination: DestinationSettings, event: Any, now: int, max_event_bytes: int = 32768
) -> Mapped:
    """Map an event for one destination. The message of a rejection is empty."""
    if not isinstance(event, dict):
        return Rejection("not_an_object", "")
    try:
        return MappedReading(name, destination, event, now).mapped(max_event_bytes)
    except RejectedEvent as rejected:
        return Rejection(str(rejected), "")


def is_excluded(event: JsonObject) -> bool:
    integrations = event.get("integrations")
    if not isinstance(integrations, dict):
        return False
    own = [
        integrations[key]
        for key in ("FacebookOfflineConversions", "Facebook Offline Conversions")
        if key in integrations
    ]
    if own:
        return False in [entry for entry in own if isinstance(entry, bool)]
    return integrations.get("All") is False


class MappedReading(Identity):
    """Maps one event for one destination."""

    def mapped(self, max_event_bytes: int) -> Mapped:
        source_name = make_encodable(as_text(self.event.get("event")) or "") or None
        if source_name is None:
            raise RejectedEvent("missing_event_name")
        if is_excluded(self.event):
            return None
        routes = [
            (standard, event_set)
            for standard in self.standard_events(source_name)
            for event_set in self.destination.standard_to_event_sets.get(standard, ())
        ]
        if not routes:
            raise RejectedEvent("unmapped_event")
        action_source = self.action_source()
        event_time = self.event_time()
        window = 62 if not self.conversions or action_source == "physical_store" else 7
        if event_time < self.now - window * DAY:
            raise RejectedEvent("event_time_too_old")
        identity = self.identity(event_time)
        if not identity:
            raise RejectedEvent("no_match_key")
        if self.conversions and any(identity.keys() <= combination for combination in TOO_BROAD):
            raise RejectedEvent("weak_match_keys")
        value = self.value()
        without_value = value is None
        if value is None:
            value = without_fraction(self.destination.default_value)
        tag = self.text("upload_tag")
        if tag is None or len(tag) > 200:
            tag = self.destination.upload_tag
        sale = self.sale(value)
        if self.conversions:
            body = {"event_time": event_time, "action_source": action_source, "event_id": self.text("event_id")}
        else:
            body = {"event_time": event_time, "action_source": action_source}
        body |= {"event_source_url": self.page_url()} | self.data_processing()
        custom = self.custom_data()
        results = []
        for standard, event_set in routes:
            if without_value and standard == "Purchase" and self.destination.purchase_without_value == "reject":
                raise RejectedEvent("purchase_without_value")
            sold = sale | {"content_type": self.content_type(source_name, standard)}
            if self.conversions:
                whole = body | {"event_name": standard, "user_data": identity, "custom_data": custom | sold}
            else:
                whole = body | {"event_name": standard, "match_keys": identity} | sold
                whole |= {"custom_data": custom} if custom else {}
            encoded = orjson.dumps({key: one for key, one in whole.items() if one is not None})
            if len(encoded) > max_event_bytes:
                raise RejectedEvent("event_too_large")
            results.append(MappedEvent(Lane(self.name, event_set, tag), event_time + window * DAY, encoded))
        return results

    # The event.

    def standard_events(self, source_name: str) -> tuple[str, ...]:
        if source_name in self.destination.events_to_standard:
            return self.destination.events_to_standard[source_name]
        return (BUILT_IN.get(source_name, "Other"),)

    def action_source(self) -> str | None:
        given = (self.text("action_source", accepts=lambda text: text.lower() in ACTION_SOURCES) or "").lower()
        return given or self.destination.action_source or ("physical_store" if self.conversions else None)

    def event_time(self) -> int:
        found = self.first("event_time", as_text)
        if found is None:
            return self.now
        seconds = seconds_of(found.strip())
        if seconds is None:
            raise RejectedEvent("event_time_invalid")
        if seconds > self.now + TOLERANCE:
            raise RejectedEvent("event_time_in_future")
        return min(seconds, self.now)

    def page_url(self) -> str | None:
        return self.text("event_source_url", accepts=lambda url: bool(re.match(r"https?://[^/?#]", url, re.IGNORECASE)))

    def data_processing(self) -> JsonObject:
        options = at(self.event, "context.dataProcessingOptions")
        if not self.destination.limited_data_usage or not isinstance(options, list) or not options:
            return {}
        words, *numbers = options
        if not isinstance(words, list) or any(word != "LDU" for word in words):
            return {}
        keys = ["data_processing_options_country", "data_processing_options_state"]
        numbers = [*numbers, 0, 0][:2]
        if any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
            numbers = [0, 0]
        return {"data_processing_options": words} | dict(zip(keys, numbers, strict=True))

    # The sale.

    def value(self) -> int | float | None:
        for path in [self.destination.value_field, *PATHS["value"], *self.destination.extra_fields.get("value", ())]:
            number = as_number(at(self.event, path))
            if number is not None:
                self.use(path)
                return number
        return None

    def sale(self, value: float) -> JsonObject:
        currency = (self.text("currency") or "").upper()
        sale = {
            "value": value,
            "currency": currency if re.fullmatch(r"[A-Z]{3}", currency) else self.destination.default_currency,
            "order_id": self.text("order_id"),
            "item_number": self.text("item_number"),
            "contents": self.contents() or None,
        }
        return {key: one for key, one in sale.items() if one is not None}

    def products(self) -> list[Any]:
        """The value of `products` as a list."""

        def usable(value: Any) -> list[Any] | None:
            values = [value] if isinstance(value, dict) else value
            return values if isinstance(values, list) and values else None

        return self.first("contents", usable) or []

    def contents(self) -> list[JsonObject]:
        products = self.products()
        if products:
            return [
                entry
                for entry in (
                    self.entry(each, ("product_id", "id", "sku")) for each in products if isinstance(each, dict)
                )
                if entry
            ]
        properties = self.event.get("properties")
        if not isinstance(properties, dict):
            return []
        entry = self.entry(properties, ("product_id", "sku"))
        if entry is None:
            return []
        for key in ("product_id", "sku", "quantity", "brand", "category", "price"):
            self.used.add((key,))
        return [entry]

    def entry(self, product: JsonObject, id_keys: tuple[str, ...]) -> JsonObject | None:
        identifiers = [make_encodable(as_text(product.get(key)) or "") for key in id_keys]
        identifier = next((text for text in identifiers if text and len(text) <= LONGEST_VALUE), None)
        if identifier is None:
            return None
        quantity = as_number(product.get("quantity"))
        price_key = "item_price" if self.conversions else "price"
        entry = {
            "id": identifier.strip(),
            "quantity": quantity if quantity is not None and quantity > 0 else 1,
            "brand": make_encodable((as_text(product.get("brand")) or "").strip()) or None,
            "category": make_encodable((as_text(product.get("category")) or "").strip()) or None,
            price_key: as_number(product.get("price")),
        }
        return {key: one for key, one in entry.items() if one is not None}

    def content_type(self, source_name: str, standard: str) -> str:
        for own in ("FacebookOfflineConversions", "Facebook Offline Conversions"):
            given = as_text(at(self.event, f"integrations.{own}.contentType"))
            if given is not None and make_encodable(given):
                return given.strip()
        products = self.products()
        for category in [
            at(self.event, "properties.category"),
            *[product.get("category") for product in products[:1] if isinstance(product, dict)],
        ]:
            text = as_text(category)
            if text is not None and text.strip() in self.destination.category_to_content_type:
                return self.destination.category_to_content_type[text.strip()]
        if source_name == "Product Viewed" and source_name in self.destination.events_to_standard:
            return "product"
        grouped = source_name in {"Product List Viewed", "Product Viewed"} or standard == "ViewContent"
        return "product_group" if grouped and not products else "product"

    def custom_data(self) -> JsonObject:
        properties = self.event.get("properties")
        if not isinstance(properties, dict):
            return {}
        for field in (*IDENTITY_KEYS, "birthday", "name"):
            for path in self.destination.extra_fields.get(field, ()):
                self.use(path)  # also if the field has its value from another path: the property is personal
        for path_used in [*self.used, *((name,) for name in MAPPED_NAMES)]:
            properties = remove_path(properties, path_used)
        typed = {key: one for key, one in properties.items() if has_accepted_type(key, one)}
        return dict(passed_on(typed))
