"""Identity section of the fast path: the match keys of an event in which every value has its usual form.

The generated code contains the lookups of every field inline. It falls back to the slow path at any other value. A text
without a usable value (a phone number without a country, an unknown gender) does not need the slow path: it is noted in
`dropped`, and counted at the end, when the code can no longer fall back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.slow_path import WEAK_IDENTITY
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.dialects import is_weak
from gateway.mapping.extract import click_id
from gateway.mapping.fields import COUNTRY, EXTERNAL_IDS, IDENTITY, NAME, MatchKey, Special, is_derived
from gateway.mapping.rules import words_of

MAX_DROPPED = 30
"""Characters of the longest text that is dropped here. Longer ones may be hashes, which the slow path handles."""

Dropped = tuple[tuple[str, str], ...]
"""Field and cause of each value that was dropped."""

WORDS: Mapping[Special | None, str] = {Special.FIRST_WORD: "first_word", Special.LAST_WORD: "last_word"}
"""Variables with the texts of the names."""


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this section. Its results are `m`, the match keys, and `dropped`."""
    builder.names |= {
        "BIRTHDAYS": plan.rules.birthdays,
        "US_BIRTHDAYS": plan.rules.us_birthdays,
        "COUNTRIES": plan.rules.countries,
        "DEFAULT_COUNTRY": plan.rules.default_country,
        "click_id": click_id,
        "count_dropped": _count_dropped(plan),
        "drop": _drop(plan),
        "is_weak": is_weak,
        "sha256": sha256,
        "words_of": words_of,
        **{f"make_{name}": function for name, function in plan.rules.functions.items()},
        **{_cache_name(name): cache for name, cache in plan.rules.caches.items()},
    }
    builder.add("m = {}\ndropped = ()")
    _country(builder, plan)
    fields = [field for field in IDENTITY if field.keys(plan.dialect)]
    _words(builder, plan)
    for field in fields:
        _field(builder, plan, field)
    builder.add("if not m: fall_back()")
    if plan.is_conversions:
        builder.add(f"if {WEAK_IDENTITY}: fall_back()")


def _cache_name(field: str) -> str:
    return f"CACHE_{field}"


def _field(builder: SourceBuilder, plan: Plan, field: MatchKey) -> None:
    """Write the code of one field."""
    if is_derived(field):
        _derived(builder, plan, field)
        return
    match field.special:
        case Special.COUNTRY:
            builder.add(f"if country_sent is not None: m[{_key(plan, field)}] = country_sent")
        case Special.BIRTHDAY:
            _birthday(builder, plan, field)
        case Special.FIRST_WORD | Special.LAST_WORD:
            builder.add(f"x = {WORDS[field.special]}")
            builder.add(f"if x is not None: m[{_key(plan, field)}] = {_value(builder, plan, field)} or fall_back()")
        case Special.LEAD_ID:
            paths = (*EXTERNAL_IDS, *plan.paths[field.name])
            conditions = " or ".join(f"({builder.get(path)}) is not None" for path in paths)
            builder.add(f"if {conditions}: fall_back()")
        case Special.CLICK_ID:
            _verbatim(builder, plan, field)
            _click_id(builder, plan, field)
        case Special.EMAIL:
            _text(builder, plan, field)
            builder.add(f"elif ({builder.get(EXTERNAL_IDS[0])}) is not None: fall_back()")
        case _ if field.is_verbatim:
            _verbatim(builder, plan, field)
        case _:
            _text(builder, plan, field)


def _key(plan: Plan, field: MatchKey) -> str:
    [key] = field.keys(plan.dialect)
    return repr(key)


def _value(builder: SourceBuilder, plan: Plan, field: MatchKey) -> str:
    """The expression of the value to send for the text `x`."""
    arguments = "x, where" if field.normalise_by_country is not None else "x"
    value = f"{_cache_name(field.name)}[{arguments}]" if field.cached else f"make_{field.name}({arguments})"
    rules = plan.rules
    keeps_case = not (field.case_as_set and rules.lowers_external_id)
    if field.shortcut is None or not keeps_case or not rules.hashing or not rules.is_hashed(field):
        return value
    builder.names |= field.shortcut.functions
    return f"sha256({field.shortcut.to_hash}).hexdigest() if {field.shortcut.accepts} else {value}"


def _text(builder: SourceBuilder, plan: Plan, field: MatchKey) -> None:
    listed = field.many or (plan.is_conversions and field.list_in_conversions)
    builder.chain("x", plan.paths[field.name])
    with builder.block("if x is not None:"):
        if field.often_a_number:
            builder.add("if x.__class__ is int: x = str(x)")
        builder.add(
            f"""
h = {_value(builder, plan, field)}
if h is None: dropped = drop(dropped, {field.name!r}, x, where)
else: m[{_key(plan, field)}] = {"[h]" if listed else "h"}
"""
        )


def _verbatim(builder: SourceBuilder, plan: Plan, field: MatchKey) -> None:
    builder.chain("x", plan.paths[field.name])
    builder.add(
        f"if x is not None: m[{_key(plan, field)}] = 0 < len(x) < {field.max_length} and x.strip() or fall_back()"
    )


def _country(builder: SourceBuilder, plan: Plan) -> None:
    """Write the variables `country_sent` and `where`, the country code with which other fields are normalised."""
    builder.chain("x", plan.paths[COUNTRY.name])
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


def _click_id(builder: SourceBuilder, plan: Plan, field: MatchKey) -> None:
    """Write the `elif` after the `if` that `_verbatim` has written: the click ID from the page's URL."""
    page_url, property_url = builder.get("context.page.url"), builder.get("properties.url")
    builder.add(
        f"""
elif {builder.flag("context.page.url", "properties.url")}:
    x = click_id({page_url}, {property_url})
    if x is not None: m[{_key(plan, field)}] = f"fb.1.{{at * 1000}}.{{x}}"
"""
    )


def _birthday(builder: SourceBuilder, plan: Plan, field: MatchKey) -> None:
    keys = ", ".join(f"m[{key!r}]" for key in field.keys(plan.dialect))
    builder.chain("x", plan.paths[field.name])
    builder.add(f'if x is not None: {keys} = (US_BIRTHDAYS if where == "US" else BIRTHDAYS)[x] or fall_back()')


def _words(builder: SourceBuilder, plan: Plan) -> None:
    """Write the variables `first_word` and `last_word`: the texts of the first and last name, or None."""
    for field in IDENTITY:
        if field.special in WORDS:
            builder.chain(WORDS[field.special], plan.paths[field.name])
    with builder.block("if first_word is None or last_word is None:"):
        builder.chain("whole", plan.paths[NAME.name])
        builder.add(
            """
if whole is not None:
    words = words_of(whole) or fall_back()
    if first_word is None: first_word = words[0]
    if last_word is None and len(words) > 1: last_word = words[1]
"""
        )


def _derived(builder: SourceBuilder, plan: Plan, field: MatchKey) -> None:
    [source] = [other for other in IDENTITY if other.name == field.derived_from]
    builder.add(f"x = {WORDS[source.special]}")
    with builder.block("if x is not None:"):
        builder.add(f"h = {_value(builder, plan, field)}\nif h is not None: m[{_key(plan, field)}] = h")


def _drop(plan: Plan) -> Callable[[Dropped, str, str, str | None], Dropped]:
    """A function that adds a text without a usable value to `dropped`. It falls back for a blank or long text."""
    cause = plan.rules.cause
    fields = {field.name: field for field in IDENTITY}

    def drop(others: Dropped, field: str, text: str, country: str | None) -> Dropped:
        if text.isspace() or not 0 < len(text) <= MAX_DROPPED:
            raise ValueError(field)
        return (*others, (field, cause(fields[field], text, country)))

    return drop


def _count_dropped(plan: Plan) -> Callable[[Dropped], None]:
    """A function that counts the entries of `dropped`."""
    counts = plan.counters.dropped

    def count_dropped(dropped: Dropped) -> None:
        for field_and_cause in dropped:
            counts[field_and_cause] += 1

    return count_dropped
