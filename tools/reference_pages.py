"""Generates the pages of `docs/` about settings, mapping, rejections and metrics from the code.

`python -m tools.reference_pages` writes them; a test fails when one is out of date.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config import Secret, Settings
from gateway.mapping.contents import CONTENT_KEYS
from gateway.mapping.coverage import CAUSES, NOTES
from gateway.mapping.custom_properties import not_passed_on
from gateway.mapping.fields import CUSTOM, EVENT, IDENTITY, NAME, Field
from gateway.mapping.personal import PERSONAL_NAMES, PERSONAL_PARTS, PERSONAL_WORDS
from gateway.mapping.rejections import REJECTIONS
from gateway.mapping.routes import BUILT_IN, CONVERSIONS_SWITCHES
from gateway.model import Dialect
from gateway.telemetry import Snapshot
from gateway.telemetry.metrics import MAX_LANE_SERIES, Families

DOCS = Path(__file__).parent.parent / "docs"
GENERATED = "<!-- Generated from the code by `make docs`. Change the code, not this page. -->"


# Settings.


def configuration_page() -> str:
    """The page of settings: every key with its type, range, default and meaning."""
    parts = [
        "# Settings",
        GENERATED,
        (
            "To configure a gateway, start from [gateway.example.toml](../gateway.example.toml), and check your file "
            "with `gateway check --config gateway.toml`. It reports errors and warnings, and shows where each event is "
            "sent, without starting anything."
        ),
        (
            "Every key can also be set by an environment variable, which takes precedence over the file. Its name is "
            "`GATEWAY_` followed by the path of the key in upper case, joined by two underscores: "
            "`GATEWAY_SERVER__PORT=9000`, `GATEWAY_DESTINATIONS__STORE__BATCH__MAX_AGE=2.5`. A value that is not valid "
            "TOML is taken as text."
        ),
        (
            'A *secret* is `{ env = "NAME" }`, `{ file = "/run/secrets/x" }` or a plain string, and is never printed. '
            "A *size* is a number of bytes or a text such as `4MiB`."
        ),
        (
            "If a key is unknown, or a value has a wrong type or is out of range, the gateway does not start: it "
            "prints one line for each error and exits with status 78."
        ),
    ]
    for title, section in _sections(Settings, ""):
        parts.append(f"## {title}")
        if section.__doc__:
            parts.append(_one_line(section.__doc__))
        rows = [_setting_row(name, info) for name, info in section.model_fields.items() if not _inner(info)]
        parts.append(_table(("key", "type", "default", "meaning"), rows))
    return _page(parts)


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in model.model_fields.items():
        inner = _inner(info)
        if inner is None:
            continue
        title = f"{prefix}{name}" if inner[1] else f"{prefix}{name}.<name>"
        yield f"`[{title}]`", inner[0]
        yield from _sections(inner[0], f"{title}.")


def _inner(info: FieldInfo) -> tuple[type[BaseModel], bool] | None:
    """The section of a key, and whether the key is one section (False: a table of sections by name); None: a value."""
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, True
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, False
    return None


def _setting_row(name: str, info: FieldInfo) -> Sequence[str]:
    meaning = info.description or ""
    if info.examples:
        meaning += f" Example: `{info.examples[0]}`."
    return f"`{name}`", _type_name(info.annotation, info.metadata), _default(info), meaning


def _type_name(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _type_name(inner, [*more, *metadata])
    if origin in {typing.Union, types.UnionType}:
        return _type_name(next(kind for kind in get_args(annotation) if kind is not types.NoneType), metadata)
    if origin is tuple:
        return f"one or more {_type_name(get_args(annotation)[0])}s"
    if origin is not None and issubclass(origin, Mapping):
        key, value = get_args(annotation)
        return f"table: {_type_name(key)} to {_type_name(value)}"
    if annotation is Secret:
        return "secret"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    name = {bool: "true or false", int: "integer", float: "number", str: "text"}[annotation]
    flat = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    if annotation is int and any("_size" in repr(part) for part in flat):
        name = "size"
    return name + _range(flat)


def _range(constraints: Sequence[Any]) -> str:
    limits = []
    for attribute, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        for constraint in constraints:
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                limits.append(f"{words} {bound:g}" if bound < 10**6 else f"{words} {bound}")
    return f", {', '.join(limits)}" if limits else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.default
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and default >= 2**10 and default % 2**10 == 0:
        for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if default % size == 0:
                return f'`"{default // size}{unit}"`'
    if isinstance(default, StrEnum):
        return f'`"{default.value}"`'
    if isinstance(default, str):
        return f'`"{default}"`'
    return "`{}`" if default == {} else f"`{default}`"


# Mapping.


def mapping_page() -> str:
    """The registry of fields as a page."""
    parts = [
        "# How an event is mapped",
        GENERATED,
        (
            "The same fields feed both dialects: `conversions` (Meta's Conversions API, which accepts offline events "
            "today) and `offline` (the legacy Offline Conversions API). A field is read from its source paths in "
            "order, and the first value that is present wins. A value is present unless it is null or blank; `0` and "
            "`false` are present. A value of the wrong type counts as absent. A number is accepted where a text is "
            "expected. The setting `extra_fields` adds paths after those listed here; for `event_id`, before them."
        ),
        "`gateway explain EVENT.json` shows the result for one event, field by field.",
        "## Identity of the customer",
        (
            "Identity fields are sent in `match_keys` (`offline`) and `user_data` (`conversions`). *Hashed* means "
            "SHA-256 of the normalised value, in lower-case hexadecimal. A value that already is a SHA-256 (64 "
            "hexadecimal digits) is sent in lower case and not hashed again. A SHA-256 of Meta's Parameter Builder, "
            "with a dot and 2 or 8 more characters, is sent as it is. An MD5 is dropped, except as "
            f"{_either([field.name for field in IDENTITY if field.accepts_md5])}; so is the hash of the empty string. "
            "An unusable value drops its key, never the event. With `hashing = false`, every value that would be "
            "hashed must be a SHA-256."
        ),
        _table(
            ("field", "source paths, in order", "rule", "offline", "conversions", "hashed"),
            [(*_field_row(field), field.hashing or "") for field in IDENTITY] + [(*_field_row(NAME), "")],
        ),
        "`conversions` refuses identities that are too broad, and the gateway rejects them (`weak_match_keys`).",
        "## The event",
        _table(("field", "source paths, in order", "rule", "offline", "conversions"), list(map(_field_row, EVENT))),
        (
            "`upload_tag` is sent with the call, so events with different tags are sent in different batches. Its "
            "default is the setting `upload_tag`."
        ),
        (
            "`data_processing_options` are read from `context.dataProcessingOptions` if `limited_data_usage` is on: "
            '`[["LDU"], 1, 1000]`, or `["LDU"]`, which has country 0 and state 0, so that Meta locates the person. '
            "`[]` says that the use is not limited. A value that cannot be read is sent as `LDU` with 0 and 0: an "
            "error of the sender does not switch the protection off."
        ),
        (
            "Meta refuses the whole call for an event whose `action_source` is `website` without user agent or page "
            "URL, or `app` without `app_data`. In `conversions`, such an event is rejected (`website_incomplete`, "
            "`app_incomplete`)."
        ),
        (
            "A destination with `crm = true` sends stages of leads for Meta's Conversion Leads: `action_source` is "
            "`system_generated`, `custom_data` has `event_source` `crm` and the `lead_event_source` of the settings, "
            "and there is no default value, currency or content type."
        ),
        "## The sale",
        (
            "These fields are sent on the event in `offline`, and in `custom_data` in `conversions`. The setting "
            "`value_field`, if it is set, is read before the paths of `value`; a name without a dot is read on the "
            "event, then in `properties`."
        ),
        _table(("field", "source paths, in order", "rule", "offline", "conversions"), list(map(_field_row, CUSTOM))),
        "An entry of `contents` has: "
        + "; ".join(f"`{key}` from {_either(sources)}" for key, sources in CONTENT_KEYS)
        + ". `price` is `item_price` in `conversions`. `delivery_category` is sent in `conversions` only, if it is one "
        "of Meta's values. `quantity` is 1 unless it is a number above 0. A product without an ID is left out. "
        "`products` may be a single object. Without `products`, an event with `product_id` or `sku` in its "
        "`properties` has that one product.",
        (
            "`content_type` is the first of these: `integrations.FacebookOfflineConversions.contentType`; the entry of "
            "`category_to_content_type` for `properties.category`, then for the category of the first product; "
            "`product_group` for an event without any product that is named `Product List Viewed`, is named "
            "`Product Viewed` and not mapped in the settings, or has another name and is mapped to ViewContent; "
            "`product`."
        ),
        "All other properties are sent in `custom_data`, except "
        + _names(sorted(not_passed_on(Dialect.OFFLINE)))
        + ", in `conversions` also "
        + _names(sorted(not_passed_on(Dialect.CONVERSIONS) - not_passed_on(Dialect.OFFLINE)))
        + ", and what is personal.",
        "## Personal data in other properties",
        (
            "Meta takes an identity hashed, in its own field. In `custom_data`, at any depth, these are left out; "
            "`/status` and `/metrics` count them by the name of the property:"
        ),
        _list(
            [
                (
                    "properties with the name of an identity, in any spelling (case, spaces, `_`, `-` and `.` do not "
                    f"matter): {_names(sorted(PERSONAL_NAMES))}"
                ),
                (
                    f"properties whose name contains one of {_names(PERSONAL_PARTS)}, or one of "
                    f"{_names(sorted(PERSONAL_WORDS))} as a word (`client_ip`, `userIP`; not `shipping`)"
                ),
                "texts that contain an email address, also with `%40`",
                (
                    "texts that are an IP address, or a phone number in international form (`+` and 7 to 15 digits, or "
                    "`00` and a valid number)"
                ),
            ]
        ),
        (
            "The setting `allow_properties` lists names that are sent nevertheless, with their texts; a name of the "
            "first group is never sent. Names that the mapping reads, such as `order_id` and `brand`, are not "
            "screened, except `search_string`."
        ),
        (
            "In web addresses (`event_source_url`, `referrer_url`, and texts in `custom_data`) the query parameters "
            "with such names or values are removed; so are a user (`https://user@host`), a path that contains an "
            "email address, and a fragment with such a value. `fbclid` is kept."
        ),
        "## Event sets",
        (
            "The event's name is mapped to standard events by `events_to_standard`, else by this table, else to "
            "`Other`. Each standard event is sent to every event set that `standard_to_event_sets` lists for it."
        ),
        _table(("event name", "standard event"), [(name, standard) for name, standard in BUILT_IN.items()]),
        (
            "The sender can exclude this destination in `integrations`: `FacebookOfflineConversions: false`, or "
            "`All: false` without an entry for `FacebookOfflineConversions`. The event is then counted as ignored. For "
            f"`conversions` these names count as well: {_names(CONVERSIONS_SWITCHES)}."
        ),
        "## Consent",
        (
            "With the setting `consent`, an event that denies the destination one of its categories (or all of them, "
            "with the resolution `or`) is not sent to it. It is counted as `consent_denied`, the sender gets success, "
            "and nothing of it is kept. Read are:"
        ),
        _list(
            [
                (
                    "`context.consentManagement` of RudderStack's SDKs: a category in `deniedConsentIds` is denied. "
                    "Where that is no list, the categories are denied that are missing in `allowedConsentIds`. Data of "
                    "another `provider` than that of the settings are not looked at. `resolutionStrategy` counts if "
                    "the settings have no `resolution`"
                ),
                (
                    "`context.consent.categoryPreferences` of Segment's SDKs: a category that is there and not `true` "
                    "is denied"
                ),
            ]
        ),
        "An event without consent data is sent. Without the setting, consent data are not looked at.",
        "## Counters",
        (
            "`/metrics` and `/status` have, for each destination and match key, the number of events with the key, and "
            "the number of dropped values by cause."
        ),
        _table(("cause", "meaning"), [(f"`{name}`", meaning) for name, meaning in CAUSES.items()]),
        _table(("note", "meaning"), [(f"`{name}`", meaning) for name, meaning in NOTES.items()]),
    ]
    return _page(parts)


def _field_row(field: Field) -> Sequence[str]:
    return (
        field.name,
        "<br>".join(f"`{path}`" for path in field.paths),
        field.description,
        *(", ".join(f"`{key}`" for key in field.keys(dialect)) for dialect in (Dialect.OFFLINE, Dialect.CONVERSIONS)),
    )


def _names(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _either(values: Sequence[str]) -> str:
    return " or ".join(f"`{value}`" for value in values)


# Rejections.


def rejections_page() -> str:
    """The rejection codes as a page."""
    rows = [(f"`{code}`", reason.meaning, reason.remedy) for code, reason in REJECTIONS.items()]
    return _page(
        [
            "# Rejections",
            GENERATED,
            (
                "A rejected event is listed in the response (`rejected`: its index, `message_id`, `code` and "
                "`message`), counted, and stored as a dead letter in which every identity is replaced by its hash, and "
                "all that mapping does not read is left out. The codes are stable. A rejected single `track` call gets "
                "status 400. A batch gets status 200, and its other events are accepted. [Operating]"
                "(operating.md#fix-rejected-and-refused-events) says how to find, correct and replay rejected events, "
                "and [how they are logged](operating.md#read-the-log)."
            ),
            _table(("code", "meaning", "what to do"), rows),
        ]
    )


# Metrics.


def metrics_page() -> str:
    """The page of metrics: every metric with its type, labels and meaning."""
    rows = []
    for family in Families(Snapshot()).collect():
        labels = ", ".join(f"`{name}`" for name in getattr(family, "_labelnames", ()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return _page(
        [
            "# Metrics",
            GENERATED,
            (
                "To monitor a gateway, let Prometheus scrape `/metrics` on the admin port. The values are collected "
                "when they are scraped; processing an event updates plain counters only. No label has a value that a "
                f"sender chose: `tag_hash` replaces the upload tag. At most {MAX_LANE_SERIES} lanes, those with the "
                "most waiting events, have their own time series; the others are added up in the series `other`."
            ),
            (
                "Events are counted as mapped events. For their counts this invariant holds: "
                "`recovered + accepted = delivered + dead letters of the stages upload and expired + waiting`."
            ),
            _table(("name", "type", "labels", "meaning"), rows),
            ("The standard `process_*` metrics are included. [Operating](operating.md#monitor) recommends alerts."),
        ]
    )


# Text.


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(headings), line(["---"] * len(headings)), *map(line, rows)])


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"* {item}" for item in items)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "configuration.md": configuration_page,
    "mapping.md": mapping_page,
    "metrics.md": metrics_page,
    "rejections.md": rejections_page,
}
"""By file name, the function that generates the page."""


def main() -> None:
    """Write every page."""
    DOCS.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
