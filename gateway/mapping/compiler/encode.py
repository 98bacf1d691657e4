"""Encoding section: the mapped event in the form of the dialect, encoded once for each standard event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import orjson

from gateway.mapping.compiler.custom_data import consume
from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.routing import is_text, text_variable
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.dialects import processing_options
from gateway.mapping.event_values import web_address
from gateway.mapping.fields import CUSTOM, EVENT, Field
from gateway.mapping.json_path import MAX_LONG_TEXT
from gateway.model import Lane, MappedEvent

MAX_TAG = 200
"""Characters of the longest upload tag."""


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this section, the last one: it returns the mapped events."""
    builder.names |= {
        "Lane": lru_cache(1024)(Lane),
        "MappedEvent": MappedEvent,
        "count_left_out": plan.counters.count_left_out,
        "dumps": orjson.dumps,
        "new": tuple.__new__,
        "processing_options": processing_options,
        "web_address": web_address,
    }
    _page_url(builder, plan)
    _upload_tag(builder, plan)
    if plan.destination.limited_data_usage:
        builder.add(f"options = processing_options({builder.get('context.dataProcessingOptions')}, count_wrong_type)")
    builder.add(f"sent_currency = currency if currency is not None else {plan.destination.default_currency!r}")
    holder = _conversions(builder, plan) if plan.is_conversions else _offline(builder, plan)
    _encode(builder, plan, holder)


def _page_url(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("page_url", plan.paths["event_source_url"])
    builder.add(
        f"""
if page_url is not None:
    page_url = web_address(page_url) if page_url.__class__ is str and len(page_url) < {MAX_LONG_TEXT} else None
    if page_url is None:
        page_url = find_text(event, "event_source_url")
        page_url = web_address(page_url) if page_url is not None else None
"""
    )
    consume(builder, plan, "event_source_url", "page_url is not None")


def _upload_tag(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("tag", plan.paths["upload_tag"])
    builder.add(
        f"""
if tag is not None:
    if tag.__class__ is not str or not 0 < len(tag) <= {MAX_LONG_TEXT} or tag.isspace():
        tag = find_text(event, "upload_tag")
    if tag is not None:
        tag = tag.strip()
        tag.encode()  # raises for a lone surrogate: the tag is not part of the body, which `dumps` checks
        if len(tag) > {MAX_TAG}:
            count_wrong_type()
            tag = None
"""
    )
    consume(builder, plan, "upload_tag", "tag is not None")


def _conversions(builder: SourceBuilder, plan: Plan) -> str:
    """Write `body`. The fields of the sale are in its `custom_data`."""
    builder.add(
        """
if source == "website":
    if page_url is None or "client_user_agent" not in m:
        return rejected("website_incomplete", "The event of a website lacks the page's URL or the user agent.")
elif source == "app" and "app_data" not in values:
    return rejected("app_incomplete", "The event of an app has no `app_data` that Meta accepts.")
"""
    )
    builder.add('body = {"event_name": None, "event_time": at, "action_source": source}')
    _texts(builder, plan, "body", EVENT)
    _optional(builder, "body", "event_source_url", "page_url")
    _options(builder, plan)
    builder.add(
        """
if values: body.update(values)
body["user_data"] = m
body["custom_data"] = custom
"""
    )
    if plan.destination.crm:
        builder.add("if has_value: custom['value'] = amount")
        _optional(builder, "custom", "currency", "currency")
        builder.add(
            f"custom['event_source'] = 'crm'\ncustom['lead_event_source'] = {plan.destination.lead_event_source!r}"
        )
    else:
        builder.add("custom['value'], custom['currency'] = amount, sent_currency")
    _texts(builder, plan, "custom", CUSTOM)
    builder.add('if contents: custom["contents"] = contents')
    return "custom"


def _offline(builder: SourceBuilder, plan: Plan) -> str:
    """Write `body`. The fields of the sale are on the event."""
    builder.add(
        'body = {"match_keys": m, "event_name": None, "event_time": at, "value": amount, "currency": sent_currency}'
    )
    _texts(builder, plan, "body", CUSTOM)
    builder.add('if contents: body["contents"] = contents')
    _texts(builder, plan, "body", EVENT)
    _optional(builder, "body", "action_source", "source")
    _optional(builder, "body", "event_source_url", "page_url")
    _options(builder, plan)
    builder.add('if custom: body["custom_data"] = custom')
    return "body"


def _texts(builder: SourceBuilder, plan: Plan, holder: str, fields: Sequence[Field]) -> None:
    """Write the fields that need no code of their own."""
    for field in fields:
        if is_text(field, plan):
            for key in field.keys(plan.dialect):
                _optional(builder, holder, key, text_variable(field))


def _optional(builder: SourceBuilder, holder: str, key: str, variable: str) -> None:
    builder.add(f"if {variable} is not None: {holder}[{key!r}] = {variable}")


def _options(builder: SourceBuilder, plan: Plan) -> None:
    if plan.destination.limited_data_usage:
        builder.add("if options is not None: body.update(options)")


def _encode(builder: SourceBuilder, plan: Plan, holder: str) -> None:
    if plan.destination.purchase_without_value == "reject":
        without_value = 'return rejected("purchase_without_value", "The purchase has no value.")'
    else:
        without_value = "without_value = True"
    if plan.destination.crm:
        content_type = "if content_type: custom['content_type'] = content_type"
    else:
        default = '"product_group" if groups and not has_products and not contents else "product"'
        content_type = f'{holder}["content_type"] = content_type or ({default})'
    builder.add(
        f"""
mapped = []
without_value = False
for standard, groups, targets in routes:
    if not has_value and standard == "Purchase":
        {without_value}
    body["event_name"] = standard
    {content_type}
    encoded = bytes(memoryview(dumps(body)))  # a copy of its own size: orjson's keeps the buffer that it grew in
    if len(encoded) > {plan.max_event_bytes}:
        return rejected("event_too_large", f"The mapped event has {{len(encoded)}} bytes.")
    for event_set, lane in targets:
        if tag is not None:
            lane = Lane({plan.name!r}, event_set, tag)
        mapped.append(new(MappedEvent, (lane, at + window, encoded)))
if left_out or personal_names: count_left_out(left_out, personal_names)
"""
    )
    if not plan.destination.crm:
        builder.add(
            """
if not has_value: NOTES["default_value_used"] += 1
if without_value: NOTES["purchase_without_value"] += 1
if currency is None: NOTES["default_currency_used"] += 1
"""
        )
    if builder.name == "fast_path":
        builder.add("if dropped: count_dropped(dropped)\nSEEN[tuple(m)] += 1")
    builder.add("return mapped")
