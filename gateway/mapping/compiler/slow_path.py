"""Who the customer is: the match keys, each found, normalised and hashed, into `m`."""

from __future__ import annotations

from typing import Any

from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.dialects import is_weak
from gateway.mapping.extract import EXTERNAL_IDS
from gateway.mapping.fields import IDENTITY, Field
from gateway.mapping.json_path import candidates, text_of
from gateway.mapping.normalise import MAX_TEXT
from gateway.mapping.rules import UNCHANGED, words_of

MAX_UNCHANGED = 4096


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this part."""
    builder.names |= {
        "DEFAULT_COUNTRY": plan.rules.default_country,
        "click_id": click_id,
        "find": plan.find,
        "find_country": plan.extractor.country,
        "is_weak": is_weak,
        "words_of": words_of,
        **{f"make_{field.name}": getattr(plan.rules, field.name, None) for field in IDENTITY},
    }
    builder.add("m = {}")
    _country(builder, plan)
    for field in IDENTITY:
        key = field.key(plan.dialect)
        if key is None:
            continue
        match field.name:
            case "country":
                builder.add(f"if country_sent is not None: m[{key!r}] = country_sent")
            case "birthday":
                _birthday(builder, plan)
            case "first_name":
                _names(builder, plan)
            case "last_name":
                pass  # with the first
            case "lead_id":
                _external_ids(builder, plan)
            case _:
                _match_key(builder, plan, field, key)
    _need_identity(builder, plan)


def _country(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("x", plan.paths["country"])
    builder.add(
        f"""
country_sent = country = None
if x is not None:
    if x.__class__ is str and len(x) < {MAX_TEXT}:
        country_sent, country = make_country(x)
    if country_sent is None:
        country_sent, country = find_country(event)
where = country or DEFAULT_COUNTRY
"""
    )


def _made(builder: SourceBuilder, plan: Plan, field: str) -> str:
    """The expression that makes of `x` what is sent, or None."""
    if field in UNCHANGED:
        return f"x.strip() or None if x.__class__ is str and len(x) < {MAX_UNCHANGED} else None"
    if field == "client_ip_address":
        builder.names["make_client_ip_address"] = lambda text: plan.rules.text("client_ip_address", text, None)
    arguments = "x, where" if field in {"phone", "state", "zip"} else "x"
    return f"make_{field}({arguments}) if x.__class__ is str and len(x) < {MAX_TEXT} else None"


def _match_key(builder: SourceBuilder, plan: Plan, field: Field, key: str) -> None:
    """One key. In `conversions` the external ID stands in a list too, though one is all there is."""
    listed = field.many or (plan.is_conversions and field.name == "external_id")
    builder.chain("x", plan.paths[field.name])
    builder.add(
        f"""
if x is not None:
    h = {_made(builder, plan, field.name)}
    if h is not None:
        m[{key!r}] = {"[h]" if listed else "h"}
    else:
        h = find(event, {field.name!r}, country, now)
        if h is not None:
            m[{key!r}] = {"[h]" if listed and not field.many else "h"}
"""
    )
    if field.name == "email":
        external = builder.get("context.externalId")
        builder.add(
            f"""
elif ({external}) is not None:
    h = find(event, "email", country, now)
    if h is not None:
        m[{key!r}] = h
"""
        )
    if field.name == "fbc":
        _click_id(builder, plan, key)


def _click_id(builder: SourceBuilder, plan: Plan, key: str) -> None:
    """`fbc` from the page's URL, where the browser left none (Meta: fbp and fbc parameters)."""

    def has_fbc(event: Any) -> bool:
        return any(True for _ in candidates(event, plan.paths["fbc"], text_of, lambda: None))

    builder.names["has_fbc"] = has_fbc
    page, properties = builder.open("context.page"), builder.open("properties")
    builder.add(
        f"""
if {key!r} not in m and ({builder.flag("context.page.url", "properties.url")}) and (x is None or not has_fbc(event)):
    clicked = click_id({page}, {properties})
    if clicked is not None:
        m[{key!r}] = f"fb.1.{{at * 1000}}.{{clicked}}"
"""
    )


def _birthday(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("x", plan.paths["birthday"])
    builder.add(
        """
if x is not None:
    h = find(event, "birthday", None, now)
    if h is not None:
        m.update(h)
"""
    )


def _names(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("x", plan.paths["first_name"])
    builder.chain("y", plan.paths["last_name"])
    with builder.block("if x is None or y is None:"):
        builder.chain("whole", plan.paths["name"])
        builder.add(
            """
if whole is not None:
    words = words_of(whole)
    if not words:
        if x is None: x = 0
        if y is None: y = 0
    else:
        if x is None: x = words[0]
        if y is None and len(words) > 1: y = words[1]
"""
        )
    for field, key in (("first_name", "fn"), ("last_name", "ln")):
        if field == "last_name":
            builder.add("x = y")
        builder.add(
            f"""
if x is not None:
    h = {_made(builder, plan, field)}
    if h is None:
        h = find(event, {field!r}, country, now)
    if h is not None:
        m[{key!r}] = h
"""
        )


def _external_ids(builder: SourceBuilder, plan: Plan) -> None:
    """The lead ID is one of the external IDs, by its type; extra paths of the settings come after them."""
    paths = (*EXTERNAL_IDS, *plan.paths["lead_id"])
    conditions = " or ".join(f"({builder.get(path)}) is not None" for path in paths)
    builder.add(
        f"""
if {conditions}:
    h = find(event, "lead_id", country, now)
    if h is not None:
        m["lead_id"] = h
"""
    )


def _need_identity(builder: SourceBuilder, plan: Plan) -> None:
    builder.add(
        """
SEEN[tuple(m)] += 1
if not m:
    return rejected("no_match_key", "Nothing in the event says who the customer is.")
"""
    )
    if plan.is_conversions:
        builder.add(
            f"""
if {weak_identity_expression()}:
    return rejected("weak_match_keys", f"Meta refuses an identity of only {{', '.join(sorted(m))}}.")
"""
        )


def weak_identity_expression() -> str:
    """The expression of whether Meta would refuse `m`; the strongest keys are asked for first."""
    return '"external_id" not in m and "em" not in m and "ph" not in m and is_weak(m)'


def click_id(page: dict[str, Any], properties: dict[str, Any]) -> str | None:
    """The `fbclid` in the query of the page's URL, its case kept."""
    address = page.get("url")
    if address is None:
        address = properties.get("url")
    if address.__class__ is not str or "fbclid=" not in address or len(address) > MAX_UNCHANGED:
        return None
    query = address.partition("?")[2].partition("#")[0]
    for part in query.split("&"):
        if part.startswith("fbclid=") and part != "fbclid=":
            return str(part.removeprefix("fbclid="))
    return None
