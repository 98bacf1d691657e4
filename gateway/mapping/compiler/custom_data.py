"""What was sold: value, currency, order, products, and the properties that are passed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.mapping.compiler.plan import MAX_LONG_TEXT, Plan, max_length
from gateway.mapping.compiler.routing import text
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.contents import contents_of
from gateway.mapping.custom_properties import MAPPED, PropertyRules, remove_path, scrub
from gateway.mapping.json_path import candidates, is_blank, number_of, text_of
from gateway.mapping.memo import MemoCache

SINGLE_PRODUCT = ("product_id", "sku", "quantity", "brand", "category", "price")
"""Properties that are a product of their own, where there is no list of products."""


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this part."""
    personal = [path.split(".")[1:] for path in plan.personal_paths if path.startswith("properties.")]
    builder.names |= {
        "CATEGORIES": dict(plan.destination.category_to_content_type),
        "CURRENCIES": MemoCache(currency, 1024),
        "FLAT": frozenset({str, int, float, bool, type(None)}),
        "PROPERTY_RULES": PropertyRules(steps[0] for steps in personal if len(steps) == 1),
        "SINGLE_PRODUCT": SINGLE_PRODUCT,
        "is_blank": is_blank,
        "number_of": number_of,
        "scrub": scrub,
        "remove_path": remove_path,
        "without_id": plan.counted("product_without_id"),
    }
    _custom(builder, [steps for steps in personal if len(steps) > 1])
    consume(builder, plan, "action_source", "own_source")
    consume(builder, plan, "event_id", "event_id is not None")
    consume(builder, plan, "event_time", "True")
    _value(builder, plan)
    for field in ("order_id", "item_number"):
        text(builder, plan, field)
        consume(builder, plan, field, f"{field} is not None")
    _currency(builder, plan)
    _contents(builder, plan)
    _content_type(builder, plan)


def consume(builder: SourceBuilder, plan: Plan, field: str, taken: str) -> None:
    """What a field took from a property is not passed on as well. `taken` is whether it took anything."""
    paths = plan.paths[field]
    places = [path.split(".")[1:] for path in paths if path.startswith("properties.")]
    leaves = dict.fromkeys(steps[0] for steps in places if steps[0] not in MAPPED)
    if not leaves:
        return

    def consumed(event: Any, custom: dict[str, Any]) -> None:
        for path, found in candidates(event, paths, text_of, lambda: None):
            if len(found) <= max_length(field):
                if path.startswith("properties."):
                    remove_path(custom, path.split(".")[1:])
                return

    builder.names[f"consume_{field}"] = consumed
    there = " or ".join(f"{leaf!r} in custom" for leaf in leaves)
    builder.add(f"if {taken} and ({there}): consume_{field}(event, custom)")


def currency(text: str) -> str | None:
    """Three letters, upper case."""
    text = text.strip()
    return text.upper() if len(text) == 3 and text.isascii() and text.isalpha() else None


def _custom(builder: SourceBuilder, nested: Sequence[Sequence[str]]) -> None:
    properties = builder.open("properties")
    builder.add(
        f"""
custom = {{}}
for key, verdict in PROPERTY_RULES[tuple({properties})]:
    value = {properties}[key]
    if verdict is True or verdict(value):
        custom[key] = value if value.__class__ in FLAT else scrub(value)
"""
    )
    for steps in nested:
        builder.add(f"remove_path(custom, {list(steps)!r})")


def _value(builder: SourceBuilder, plan: Plan) -> None:
    default = plan.destination.default_value
    builder.add("amount = None")
    for path in plan.paths["value"]:
        parent, _, leaf = path.rpartition(".")
        steps = path.split(".")[1:]
        consumed = f"custom.pop({leaf!r}, None)" if parent == "properties" else f"remove_path(custom, {steps!r})"
        with builder.block("if amount is None:"):
            builder.add(
                f"""
x = {builder.get(path)}
if x is not None:
    amount = x if x.__class__ is float and x - x == 0.0 else number_of(x)
    if amount is not None: {consumed}
    elif not is_blank(x): count_wrong_type()
"""
            )
    builder.add(
        f"""
has_value = amount is not None
if not has_value:
    amount = {int(default) if default.is_integer() else default!r}
"""
    )


def _currency(builder: SourceBuilder, plan: Plan) -> None:
    paths = plan.paths["currency"]
    builder.chain("currency", paths)
    if len(paths) == 1:
        builder.add("currency = CURRENCIES[currency] if currency.__class__ is str else None")
        return
    builder.add(
        f"""
if currency is not None:
    if currency.__class__ is not str or not 0 < len(currency) <= {MAX_LONG_TEXT} or currency.isspace():
        currency = find_text(event, "currency")
    currency = CURRENCIES[currency] if currency is not None else None
"""
    )
    consume(builder, plan, "currency", "currency is not None")


def _contents(builder: SourceBuilder, plan: Plan) -> None:
    names = builder.names

    def without_id() -> None:
        names["without_id"]()  # looked up when it is called: the quick function has another

    names["contents_of"] = contents_of("item_price" if plan.is_conversions else "price", without_id)
    there = "has_products = products.__class__ is dict or (products.__class__ is list and products != [])"
    builder.add(f"products = {builder.get('properties.products')}\n{there}")
    for path in plan.paths["contents"][1:]:
        with builder.block("if not has_products:"):
            builder.add(f"products = {builder.get(path)}\n{there}")
            if path.startswith("properties."):
                builder.add(f"if has_products: remove_path(custom, {path.split('.')[1:]!r})")
    properties = builder.open("properties")
    builder.add(
        f"""
contents = None
if has_products:
    contents = contents_of(products)
elif ({builder.get("properties.product_id")}) is not None or ({builder.get("properties.sku")}) is not None:
    single = {{}}
    for key in SINGLE_PRODUCT: single[key] = {properties}.get(key)
    contents = contents_of(single)
    if contents:
        for key in SINGLE_PRODUCT: custom.pop(key, None)
"""
    )


def _content_type(builder: SourceBuilder, plan: Plan) -> None:
    builder.add(
        """
content_type = None
if integration.__class__ is dict:
    content_type = text_of(integration.get("contentType"))
    if content_type is not None: content_type = content_type.strip()
"""
    )
    if not plan.destination.category_to_content_type:
        return
    builder.add(
        f"""
if content_type is None:
    category = {builder.get("properties.category")}
    content_type = CATEGORIES.get(category.strip()) if category.__class__ is str else None
    if content_type is None and has_products:
        product = products[0] if products.__class__ is list else products
        category = product.get("category") if product.__class__ is dict else None
        content_type = CATEGORIES.get(category.strip()) if category.__class__ is str else None
"""
    )
