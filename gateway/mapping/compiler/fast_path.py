"""Who the customer is, read in straight lines: every value a text of the usual kind, or the quick function gives up.

A text that is no usable value of its kind is usual enough (a phone number without a country, a gender Meta does not
know): it is noted, and counted once nothing can make the function give up any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256

from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.slow_path import click_id, weak_identity_expression
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.dialects import is_weak
from gateway.mapping.extract import EXTERNAL_IDS
from gateway.mapping.fields import IDENTITY
from gateway.mapping.rules import words_of

PLAIN_EMAIL = re.compile(r"[a-z0-9._%+\-]{1,64}@(?:[a-z0-9\-]{1,63}\.){1,2}[a-z0-9\-]{2,24}", re.ASCII).fullmatch

MAX_DROPPED = 30
"""Characters of a dropped text; of longer ones, written-out numbers among them, careful decides."""

Dropped = tuple[tuple[str, str], ...]
"""Field and cause of each value that was dropped."""

_WORD = "sha256(x.lower().encode()).hexdigest() if x.isascii() and x.isalpha() and len(x) < 32 else "
SHORTCUTS: Mapping[str, str] = {
    "email": "sha256(plain.encode()).hexdigest() if len(x) < 99 and is_plain_email(plain := x.strip().lower()) else ",
    "first_name": _WORD,
    "last_name": _WORD,
    "external_id": "sha256(x.strip().encode()).hexdigest() if 0 < len(x) < 64 and not x.isspace() else ",
}
"""Where a usual text needs no more than this expression, which is what the rule would make of it."""

CACHED_LOOKUPS: Mapping[str, str] = {
    "first_name": "FIRST_NAMES[x]",
    "last_name": "LAST_NAMES[x]",
    "gender": "GENDERS[x]",
    "city": "CITIES[x]",
    "state": "STATES[x, where]",
    "zip": "ZIPS[x, where]",
}
"""Fields whose values repeat."""

NUMERIC_FIELDS = frozenset({"phone", "zip", "external_id"})
"""Fields that senders give as numbers too."""


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this part."""
    rules = plan.rules
    builder.names |= {
        "BIRTHDAYS": rules.birthdays,
        "CITIES": rules.cities,
        "COUNTRIES": rules.countries,
        "DEFAULT_COUNTRY": rules.default_country,
        "FIRST_NAMES": rules.first_names,
        "GENDERS": rules.genders,
        "LAST_NAMES": rules.last_names,
        "STATES": rules.states,
        "ZIPS": rules.zips,
        "click_id": click_id,
        "count_dropped": _counting(plan),
        "drop": _dropping(plan),
        "is_weak": is_weak,
        "is_plain_email": PLAIN_EMAIL,
        "sha256": sha256,
        "words_of": words_of,
        **{f"make_{field.name}": getattr(rules, field.name, None) for field in IDENTITY},
    }
    builder.add("m = {}\ndropped = ()")
    builder.chain("x", plan.paths["country"])
    builder.add(
        """
if x is None:
    country_sent, where = None, DEFAULT_COUNTRY
else:
    country_sent, where = COUNTRIES[x]
    if country_sent is None: fall_back()
    if where is None: where = DEFAULT_COUNTRY
"""
    )
    for field in IDENTITY:
        key = field.key(plan.dialect)
        if key is not None:
            _field(builder, plan, field.name, key)
    builder.add("if not m: fall_back()")
    if plan.is_conversions:
        builder.add(f"if {weak_identity_expression()}: fall_back()")


def _field(builder: SourceBuilder, plan: Plan, field: str, key: str) -> None:
    match field:
        case "country":
            builder.add(f"if country_sent is not None: m[{key!r}] = country_sent")
        case "birthday":
            _birthday(builder, plan)
        case "first_name":
            _names(builder, plan)
        case "last_name":
            pass  # with the first
        case "lead_id":
            paths = (*EXTERNAL_IDS, *plan.paths["lead_id"])
            conditions = " or ".join(f"({builder.get(path)}) is not None" for path in paths)
            builder.add(f"if {conditions}: fall_back()")
        case "client_user_agent" | "fbp":
            builder.chain("x", plan.paths[field])
            builder.add(f"if x is not None: m[{key!r}] = 0 < len(x) < 4096 and x.strip() or fall_back()")
        case "fbc":
            _click_id(builder, plan, key)
        case _:
            _text(builder, plan, field, key)


def _text(builder: SourceBuilder, plan: Plan, field: str, key: str) -> None:
    rules = plan.rules
    if field == "client_ip_address":
        builder.names["make_client_ip_address"] = lambda text: rules.text("client_ip_address", text, None)
    made = CACHED_LOOKUPS.get(field) or f"make_{field}({'x, where' if field == 'phone' else 'x'})"
    short_cut = SHORTCUTS.get(field, "") if rules.hashing and rules.is_hashed(field) else ""
    listed = field in {"email", "phone"} or (plan.is_conversions and field == "external_id")
    builder.chain("x", plan.paths[field])
    with builder.block("if x is not None:"):
        if field in NUMERIC_FIELDS:
            builder.add("if x.__class__ is int: x = str(x)")
        builder.add(
            f"""
h = {short_cut}{made}
if h is None: dropped = drop(dropped, {field!r}, x, where)
else: m[{key!r}] = {"[h]" if listed else "h"}
"""
        )


def _click_id(builder: SourceBuilder, plan: Plan, key: str) -> None:
    page, properties = builder.open("context.page"), builder.open("properties")
    builder.chain("x", plan.paths["fbc"])
    builder.add(
        f"""
if x is not None:
    m[{key!r}] = 0 < len(x) < 4096 and x.strip() or fall_back()
elif {builder.flag("context.page.url", "properties.url")}:
    x = click_id({page}, {properties})
    if x is not None: m[{key!r}] = f"fb.1.{{at * 1000}}.{{x}}"
"""
    )


def _birthday(builder: SourceBuilder, plan: Plan) -> None:
    sent = "m['db'] =" if plan.is_conversions else "m['doby'], m['dobm'], m['dobd'] ="
    builder.chain("x", plan.paths["birthday"])
    builder.add(f"if x is not None: {sent} BIRTHDAYS[x] or fall_back()")


def _names(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("x", plan.paths["first_name"])
    builder.chain("y", plan.paths["last_name"])
    with builder.block("if x is None or y is None:"):
        builder.chain("whole", plan.paths["name"])
        builder.add(
            """
if whole is not None:
    words = words_of(whole) or fall_back()
    if x is None: x = words[0]
    if y is None and len(words) > 1: y = words[1]
"""
        )
    for variable, field, key in (("x", "first_name", "fn"), ("y", "last_name", "ln")):
        if variable == "y":
            builder.add("x = y")
        short_cut = SHORTCUTS[field] if plan.rules.hashing else ""
        builder.add(f"if x is not None: m[{key!r}] = {short_cut}{CACHED_LOOKUPS[field]} or fall_back()")


def _dropping(plan: Plan) -> Callable[[Dropped, str, str, str | None], Dropped]:
    """A function that notes one more value that gave nothing to send; at what is no plain text it gives up."""
    cause = plan.rules.cause

    def drop(others: Dropped, field: str, text: str, country: str | None) -> Dropped:
        if text.isspace() or not 0 < len(text) <= MAX_DROPPED:
            raise ValueError(field)
        return (*others, (field, cause(field, text, country)))

    return drop


def _counting(plan: Plan) -> Callable[[Dropped], None]:
    """A function that counts what was noted."""
    counts = plan.counters.dropped

    def count_dropped(dropped: Dropped) -> None:
        for one in dropped:
            counts[one] += 1

    return count_dropped
