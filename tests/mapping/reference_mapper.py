"""The reference mapper: a slow and plain implementation of the same mapping, without code generation.

It is written from the mapping rules and not from the compiled mapper: where the two differ, one of them is wrong. It
shares with the gateway only the types of `gateway.model` and of the settings.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.model import JsonObject, Lane, Mapped, MappedEvent, NotSent, Rejection
from tests.mapping.reference_event_values import EventValues
from tests.mapping.reference_privacy import is_denied, looks_personal, passed_on
from tests.mapping.reference_tables import (
    ACTION_SOURCES,
    BUILT_IN,
    EVENT_VALUES,
    IDENTITY_KEYS,
    MAPPED_NAMES,
    PATHS,
    SWITCHES,
    TOO_BROAD,
)
from tests.mapping.reference_values import (
    LONGEST_VALUE,
    as_number,
    as_text,
    at,
    has_accepted_type,
    make_encodable,
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
    if is_denied(event, destination):
        return NotSent.CONSENT_DENIED
    try:
        return MappedReading(name, destination, event, now).mapped(max_event_bytes)
    except RejectedEvent as rejected:
        return Rejection(str(rejected), "")


def is_excluded(event: JsonObject, names: list[str]) -> bool:
    integrations = event.get("integrations")
    if not isinstance(integrations, dict):
        return False
    own = [integrations[name] for name in names if integrations.get(name) is not None]
    return any(entry is False for entry in own) if own else integrations.get("All") is False


class MappedReading(EventValues):
    """Maps one event for one destination."""

    def mapped(self, max_event_bytes: int) -> Mapped:
        source_name = make_encodable(as_text(self.event.get("event")) or "") or None
        if source_name is None:
            raise RejectedEvent("missing_event_name")
        if is_excluded(self.event, SWITCHES[self.destination.api]):
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
        if value is None and not self.destination.crm:
            value = without_fraction(self.destination.default_value)
        tag = self.text("upload_tag", accepts=lambda text: len(text) <= 200) or self.destination.upload_tag
        sale = self.sale(value)
        body = {"event_time": event_time, "action_source": action_source, "event_source_url": self.page_url()}
        if self.conversions:
            body |= {"event_id": self.text("event_id")} | self.event_values()
            if action_source == "website" and not (body["event_source_url"] and "client_user_agent" in identity):
                raise RejectedEvent("website_incomplete")
            if action_source == "app" and body["app_data"] is None:
                raise RejectedEvent("app_incomplete")
        body |= self.data_processing()
        custom = self.custom_data()
        results = []
        for standard, event_set in routes:
            if without_value and standard == "Purchase" and self.destination.purchase_without_value == "reject":
                raise RejectedEvent("purchase_without_value")
            sold = sale | {"content_type": self.content_type(source_name, standard)}
            if self.conversions:
                sold = {key: one for key, one in sold.items() if one is not None}
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
        if self.destination.crm:
            self.text("action_source", accepts=lambda text: text.lower() in ACTION_SOURCES)
            return "system_generated"
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

    def data_processing(self) -> JsonObject:
        given = at(self.event, "context.dataProcessingOptions")
        if not self.destination.limited_data_usage or given is None or (isinstance(given, str) and not given.strip()):
            return {}
        words, country, state = ["LDU"], 0, 0
        if given in ([], ["LDU"]):
            words = given
        elif isinstance(given, list) and len(given) in {1, 3} and given[0] in ([], ["LDU"]):
            words = given[0]
            if len(given) == 3 and type(given[1]) is int and type(given[2]) is int:
                country, state = given[1:]
        return {
            "data_processing_options": words,
            "data_processing_options_country": country,
            "data_processing_options_state": state,
        }

    # The sale.

    def value(self) -> int | float | None:
        field = self.destination.value_field
        own = [field] if field else []
        if field and "." not in field:
            own.append(f"properties.{field}")
        for path in [*own, *PATHS["value"], *self.destination.extra_fields.get("value", ())]:
            number = as_number(at(self.event, path))
            if number is not None:
                self.use(path)
                return number
        return None

    def sale(self, value: float | None) -> JsonObject:
        currency = (self.text("currency") or "").upper()
        default_currency = None if self.destination.crm else self.destination.default_currency
        self.sold = self.contents()
        sale = {
            "value": value,
            "currency": currency if re.fullmatch(r"[A-Z]{3}", currency) else default_currency,
            "order_id": self.text("order_id"),
            "item_number": self.text("item_number"),
            "contents": self.sold or None,
        }
        if self.conversions:
            sale["search_string"] = self.text("search_string", passes=lambda text: not looks_personal(text))
        if self.destination.crm:
            sale |= {"event_source": "crm", "lead_event_source": self.destination.lead_event_source}
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
        if self.conversions and id_keys[-1] == "sku" and len(id_keys) > 2:
            delivery = product.get("delivery_category")
            entry["delivery_category"] = delivery if has_accepted_type("delivery_category", delivery) else None
        return {key: one for key, one in entry.items() if one is not None}

    def content_type(self, source_name: str, standard: str) -> str | None:
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
        if self.destination.crm:
            return None
        if source_name == "Product Viewed" and source_name in self.destination.events_to_standard:
            return "product"
        grouped = source_name in {"Product List Viewed", "Product Viewed"} or standard == "ViewContent"
        return "product_group" if grouped and not products and not self.sold else "product"

    def custom_data(self) -> JsonObject:
        properties = self.event.get("properties")
        if not isinstance(properties, dict):
            return {}
        for field in (*IDENTITY_KEYS, "birthday", "name"):
            for path in self.destination.extra_fields.get(field, ()):
                self.use(path)  # also if the field has its value from another path: the property is personal
        mapped_names = {*MAPPED_NAMES, *EVENT_VALUES, "search_string"} if self.conversions else MAPPED_NAMES
        for path_used in [*self.used, *((name,) for name in mapped_names)]:
            properties = remove_path(properties, path_used)
        typed = {key: one for key, one in properties.items() if has_accepted_type(key, one)}
        return dict(passed_on(typed, self.destination.allow_properties))
