"""The pages of `docs/` that are made from the code: the settings, the mapping, the rejections, the metrics.

`python -m tools.reference_pages` writes them; a test fails when one is stale.
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
from gateway.mapping.coverage import CAUSES, NOTES
from gateway.mapping.custom_properties import MAPPED, OURS
from gateway.mapping.extract import EXTERNAL_IDS, LAST_RESORT
from gateway.mapping.fields import CONTENT_KEYS, CUSTOM, EVENT, IDENTITY, NAME, PERSONAL_NAMES, Field
from gateway.mapping.rejections import REJECTIONS
from gateway.mapping.routes import BUILT_IN
from gateway.model import Dialect
from gateway.telemetry import Snapshot
from gateway.telemetry.metrics import MAX_LANE_SERIES, Families

DOCS = Path(__file__).parent.parent / "docs"
MADE = "<!-- Made from the code by `make docs`; changes belong there. -->"


# Settings.


def configuration_page() -> str:
    """Every setting with its type, range, default and meaning."""
    parts = [
        "# Settings",
        MADE,
        (
            "One TOML file, `--config gateway.toml`. Every key can also come from the environment, which wins: "
            "the path in upper case, joined by two underscores, behind `GATEWAY_`: `GATEWAY_SERVER__PORT=9000`, "
            "`GATEWAY_DESTINATIONS__STORE__BATCH__MAX_AGE=2.5`. A value is read as TOML where it is TOML, else as "
            "text."
        ),
        (
            'A *secret* is `{ env = "NAME" }`, `{ file = "/run/secrets/x" }` or a plain string, and is never printed. '
            "A *size* is a number of bytes or a text such as `4MiB`."
        ),
        (
            "An unknown key, a wrong type or a value out of range stops the start with one line for each fault, "
            "and exit status 78. `gateway check` looks at a file without starting anything, and shows where every "
            "event goes."
        ),
        "A whole file to start from: [gateway.example.toml](../gateway.example.toml).",
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
    """The section that a key holds, and whether it holds one (else: a table of them by name)."""
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, True
    for one in get_args(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one, False
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
        return _type_name(next(one for one in get_args(annotation) if one is not types.NoneType), metadata)
    if origin is tuple:
        return f"one or more {_type_name(get_args(annotation)[0])}s"
    if origin is not None and issubclass(origin, Mapping):
        key, value = get_args(annotation)
        return f"table: {_type_name(key)} to {_type_name(value)}"
    if annotation is Secret:
        return "secret"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    name = {bool: "true or false", int: "whole number", float: "number", str: "text"}[annotation]
    flat = [part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
    if annotation is int and any("_size" in repr(part) for part in flat):
        name = "size"
    return name + _range(flat)


def _range(constraints: Sequence[Any]) -> str:
    said = []
    for attribute, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        for one in constraints:
            bound = getattr(one, attribute, None)
            if bound is not None:
                said.append(f"{words} {bound:g}" if bound < 10**6 else f"{words} {bound}")
    return f", {', '.join(said)}" if said else ""


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

WHAT_RULES_DO: Mapping[str, str] = {
    "email": "trimmed, lower case; must look like an address",
    "phone": "digits with the country code; without one it takes the event's country, else `default_country`, else it "
    "is dropped",
    "gender": "`f` or `m`, from female, woman, male, man and their first letters; anything else is dropped",
    "birthday": "`DD, MM, YYYY` with a comma, space, `/`, `-` or `.` between; `YYYY-MM-DD` and ISO times; `YYYYMMDD`. "
    "Impossible and future days and years before 1900 are dropped. An American `MM/DD/YYYY` cannot be told from "
    "`DD/MM/YYYY`, so slashes mean day first, and a month above 12 drops the key rather than guess",
    "name": "lower case, no punctuation, single spaces",
    "city": "lower case, letters and digits only",
    "state": "the two-letter code in the USA, also when no country is known but the state is American; elsewhere as a "
    "city",
    "zip": "lower case without spaces and dashes; in the USA the first five digits",
    "country": "two letters (ISO 3166-1), from two or three letters or a name",
    "external_id": "trimmed",
    "madid": "lower case with hyphens; the all-zero one is dropped",
    "lead_id": "digits, without the `l:` of an export",
    "ip": "a valid IPv4 or IPv6 address",
    "as it is": "trimmed",
    "time": "ISO 8601 (UTC when it has no offset), unix seconds or milliseconds; none at all is now",
    "action_source": "one of Meta's words; else `action_source` of the settings",
    "url": "absolute http or https address",
    "number": "a number or a text that is one; else `default_value`",
    "currency": "three letters, upper case; else `default_currency`",
    "contents": "see below",
    NAME.normaliser: "split at white space: the first word is the first name, the last the last name, a single word "
    "the first",
}
"""What each rule of the table makes of a value."""


def mapping_page() -> str:
    """The field table as people read it."""
    parts = [
        "# What becomes of an event",
        MADE,
        (
            "One table feeds both dialects: `conversions` (Meta's Conversions API, which takes offline events "
            "today) and `offline` (the legacy Offline Conversions format). The first path with a value wins; a "
            "value is there when it is neither null nor blank, and `0` and `false` are values. A value of a wrong "
            "type counts as absent. Numbers where texts belong are written out. `extra_fields` of the settings "
            "adds paths after these."
        ),
        "`gateway explain EVENT.json` shows all of this for an event of yours.",
        "## Who the customer is",
        (
            "In `match_keys` (`offline`) and `user_data` (`conversions`). *Hashed* means SHA-256 of the "
            "normalised value in lower-case hexadecimal. What is 64 hexadecimal digits already passes as it is, "
            "in lower case; an MD5 (but of an `external_id`) and the hash of nothing are dropped. A value that "
            "cannot be used drops its key, never the event. With `hashing = false` everything in this table "
            "that would be hashed must come hashed."
        ),
        _table(
            ("field", "source paths, in order", "rule", "offline", "conversions", "hashed"),
            [_identity_row(one) for one in (*IDENTITY, NAME)],
        ),
        "Besides:",
        _list(
            [
                f"`email`'s last resort is `{LAST_RESORT}`, when it is an address.",
                f"`lead_id` is the `id` of the entry with type `LeadId` in {_either(EXTERNAL_IDS)}.",
                "`fbc`, when absent, is made of `fbclid` in the page URL's query: `fb.1.<event time in ms>.<fbclid>`.",
                "`email` and `phone` may be lists: every usable value is sent.",
                "`conversions` refuses identities that are too broad; so does the gateway (`weak_match_keys`).",
            ]
        ),
        "## The event",
        _table(
            ("field", "source paths, in order", "rule", "offline", "conversions"), [_event_row(one) for one in EVENT]
        ),
        (
            "`upload_tag` stands on the call, so events of another tag travel in other batches; its default is the "
            "setting `upload_tag`. `data_processing_options` come from `context.dataProcessingOptions` when "
            "`limited_data_usage` is on."
        ),
        "## The sale",
        (
            "On the event in `offline`, in `custom_data` in `conversions`. The `value_field` of the settings is asked "
            "before the paths of `value`."
        ),
        _table(
            ("field", "source paths, in order", "rule", "offline", "conversions"), [_event_row(one) for one in CUSTOM]
        ),
        "Of each product go on: "
        + "; ".join(f"`{key}` from {_either(sources)}" for key, sources in CONTENT_KEYS)
        + ". `price` is `item_price` in `conversions`; `quantity` is 1 unless it is a number above 0; a product "
        "without an ID is left out. `products` may be one object; an event with `product_id` or `sku` straight in its "
        "`properties` is one product.",
        (
            "`content_type` is, in this order: `integrations.FacebookOfflineConversions.contentType`; "
            "`category_to_content_type` for `properties.category`, then for the first product's category; "
            "`product_group`, when there are no products, for `Product List Viewed`, for a `Product Viewed` that "
            "the settings do not map, and for any other name that becomes ViewContent; `product`."
        ),
        "Every other property goes on in `custom_data`, but for "
        + ", ".join(f"`{name}`" for name in sorted(MAPPED | OURS))
        + ", and for whatever is named like an identity, on any level and in any spelling: "
        + ", ".join(f"`{name}`" for name in sorted(PERSONAL_NAMES))
        + ".",
        "## Where it goes",
        (
            "An event's name is looked up in `events_to_standard`, then here, else it is `Other`; each standard "
            "event goes to every event set that `standard_to_event_sets` lists for it."
        ),
        _table(("event name", "standard event"), [(name, standard) for name, standard in BUILT_IN.items()]),
        (
            "`integrations` of the event can switch it off: `false` for `FacebookOfflineConversions`, or `All: false` "
            "without an entry of its own. Such an event is counted as ignored."
        ),
        "## What is counted",
        "Per destination and match key, in `/metrics` and `/status`: how many events had it, and why it was dropped.",
        _table(("cause", "meaning"), [(f"`{name}`", meaning) for name, meaning in CAUSES.items()]),
        _table(("note", "meaning"), [(f"`{name}`", meaning) for name, meaning in NOTES.items()]),
    ]
    return _page(parts)


def _identity_row(field: Field) -> Sequence[str]:
    return (*_event_row(field), field.hashing.value)


def _event_row(field: Field) -> Sequence[str]:
    return (
        field.name,
        "<br>".join(f"`{path}`" for path in field.paths),
        WHAT_RULES_DO[field.normaliser],
        *(_keys(field.key(dialect)) for dialect in (Dialect.OFFLINE, Dialect.CONVERSIONS)),
    )


def _keys(key: str | None) -> str:
    return ", ".join(f"`{one}`" for one in key.split(", ")) if key else ""


def _either(paths: Sequence[str]) -> str:
    return " or ".join(f"`{path}`" for path in paths)


# Rejections.


def rejections_page() -> str:
    """Every code with what to do about it."""
    rows = [(f"`{code}`", reason.meaning, reason.remedy) for code, reason in REJECTIONS.items()]
    return _page(
        [
            "# Why an event is rejected",
            MADE,
            (
                "A rejected event is named in the answer (`rejected`, with its index, `message_id`, `code` and "
                "`message`), counted, and kept as a dead letter in which every personal value is replaced by its "
                "hash. The codes are stable. A single `track` call that is rejected gets status 400; a batch gets "
                "200, and its other events are accepted."
            ),
            _table(("code", "meaning", "what to do"), rows),
        ]
    )


# Metrics.


def metrics_page() -> str:
    """Every metric with its type and labels."""
    rows = []
    for family in Families(Snapshot()).collect():
        labels = ", ".join(f"`{name}`" for name in getattr(family, "_labelnames", ()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return _page(
        [
            "# Metrics",
            MADE,
            (
                "`/metrics` on the admin port, in the Prometheus text format. Counts are read when somebody "
                "scrapes; nothing of this runs on an event's way. No label holds anything that a sender chose "
                f"but the upload tag, and at most {MAX_LANE_SERIES} lanes have series of their own (those with the most"
                " "
                "waiting); the rest share one, `other`."
            ),
            (
                "The unit of the account is the mapped event: `recovered + accepted = delivered + dead letters "
                "of the stages upload and expired + waiting`."
            ),
            _table(("name", "type", "labels", "meaning"), rows),
            (
                "The usual `process_*` metrics come with it. Worth an alert: `gateway_lane_blocked > 0`; "
                "`time() - gateway_lane_oldest_waiting_timestamp_seconds` above what your sales may wait; a "
                'rise of `gateway_dead_letters_total{stage!="mapping"}`; `gateway_spool_bytes / '
                "gateway_spool_max_bytes` above 0.8."
            ),
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
"""File name to what makes it."""


def main() -> None:
    """Write every page."""
    DOCS.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
