"""Sale section: value, currency, order, products, and the properties that are passed on in `custom_data`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.routing import is_text, text, text_variable
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.contents import SINGLE_PRODUCT, contents_of
from gateway.mapping.custom_properties import PropertyRules, not_passed_on, remove_path
from gateway.mapping.fields import BY_NAME, CONVERTED, CUSTOM, EVENT
from gateway.mapping.json_path import MAX_LONG_TEXT, is_blank, number_of
from gateway.mapping.memo import MemoCache


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this section. Its results are `custom`, `amount`, `currency`, `contents` and `content_type`.

    Further, in `conversions`, `values`: the values on the event that are not just texts.
    """
    personal = [path.split(".")[1:] for path in plan.personal_paths if path.startswith("properties.")]
    rules = PropertyRules(
        not_passed_on(plan.dialect),
        (steps[0] for steps in personal if len(steps) == 1),
        plan.destination.allow_properties,
    )
    builder.names |= {
        "CATEGORIES": dict(plan.destination.category_to_content_type),
        "CURRENCIES": MemoCache(currency, 1024),
        "FLAT": frozenset({str, int, float, bool, type(None)}),
        "LETTERS": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "PROPERTY_RULES": rules,
        "SINGLE_PRODUCT": SINGLE_PRODUCT,
        "is_blank": is_blank,
        "number_of": number_of,
        "remove_path": remove_path,
        "screened": rules.screen.value,
        "without_id": plan.counted("product_without_id"),
    }
    _custom(builder, [steps for steps in personal if len(steps) > 1])
    if plan.is_conversions:
        _event_values(builder, plan)
    consume(builder, plan, "action_source", "own_source")
    for field in EVENT:
        if is_text(field, plan):
            consume(builder, plan, field.name, f"{text_variable(field)} is not None")
    consume(builder, plan, "event_time", "True")
    _value(builder, plan)
    for field in CUSTOM:
        if is_text(field, plan):
            text(builder, plan, field)
            consume(builder, plan, field.name, f"{text_variable(field)} is not None")
    _currency(builder, plan)
    _contents(builder, plan)
    _content_type(builder, plan)


def consume(builder: SourceBuilder, plan: Plan, field: str, condition: str) -> None:
    """Remove from `custom` the property from which a field got its value.

    `condition` is the expression of whether the field has a value from the event.
    """
    paths = plan.paths[field]
    properties = [path.split(".")[1:] for path in paths if path.startswith("properties.")]
    names = dict.fromkeys(steps[0] for steps in properties if steps[0] not in not_passed_on(plan.dialect))
    if not names:
        return

    def remove_consumed(event: Any, custom: dict[str, Any]) -> None:
        for path, _ in plan.texts(event, BY_NAME[field]):
            if path.startswith("properties."):
                remove_path(custom, path.split(".")[1:])
            return

    builder.names[f"consume_{field}"] = remove_consumed
    present = " or ".join(f"{name!r} in custom" for name in names)
    builder.add(f"if {condition} and ({present}): consume_{field}(event, custom)")


def currency(text: str) -> str | None:
    """A currency code: three letters, upper case."""
    text = text.strip()
    return text.upper() if len(text) == 3 and text.isascii() and text.isalpha() else None


def _custom(builder: SourceBuilder, personal: Sequence[Sequence[str]]) -> None:
    """Write `custom`, the properties to pass on. `personal` are paths below a property that are removed from it."""
    properties = builder.open("properties")
    builder.add(
        f"""
custom = {{}}
left_out = []
passed_on, personal_names, has_event_values = PROPERTY_RULES[tuple({properties})]
for key, verdict, is_screened in passed_on:
    value = {properties}[key]
    if verdict is True or verdict(value):
        if value.__class__ is str:
            # Only a text with one of these signs can look personal. The check takes 0.1 us, the screening 1 us.
            if is_screened and not value.isalpha() and (
                value[:1] not in LETTERS or "@" in value or ":" in value or "%" in value or "\uff20" in value
            ):
                value = screened(key, value, left_out)
                if value is None: continue
            custom[key] = value
        else:
            custom[key] = value if value.__class__ in FLAT else screened(key, value, left_out)
"""
    )
    for steps in personal:
        builder.add(f"remove_path(custom, {list(steps)!r})")


def _event_values(builder: SourceBuilder, plan: Plan) -> None:
    """Write `values`. Events of stores rarely have any, so their properties are only read if one has such a name."""
    builder.names |= {"NO_VALUES": {}, "event_values": plan.event_values}
    if any(plan.destination.extra_fields.get(field.name) for field in CONVERTED):
        builder.add("values = event_values(event, custom, count_wrong_type)")
    else:
        builder.add("values = event_values(event, custom, count_wrong_type) if has_event_values else NO_VALUES")


def _value(builder: SourceBuilder, plan: Plan) -> None:
    default = plan.destination.default_value
    builder.add("amount = None")
    for path in plan.paths["value"]:
        holder, *steps = path.split(".")
        consumed = "pass"
        if holder == "properties" and steps:
            consumed = f"custom.pop({steps[0]!r}, None)" if len(steps) == 1 else f"remove_path(custom, {steps!r})"
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
        names["without_id"]()  # looked up at the call: the fast path replaces it

    names["contents_of"] = contents_of(plan.dialect, without_id)
    is_present = "has_products = products.__class__ is dict or (products.__class__ is list and products != [])"
    builder.add(f"products = {builder.get('properties.products')}\n{is_present}")
    for path in plan.paths["contents"][1:]:
        with builder.block("if not has_products:"):
            builder.add(f"products = {builder.get(path)}\n{is_present}")
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
