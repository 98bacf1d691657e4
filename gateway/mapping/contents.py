"""Products in the form of Meta's `contents`: the keys that are passed on, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.mapping.json_path import number_of, text_of
from gateway.mapping.memo import MemoCache
from gateway.mapping.normalise import MAX_TEXT
from gateway.model import Dialect

ID_SOURCES = ("product_id", "id", "sku")
CONTENT_KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("id", ID_SOURCES),
    ("quantity", ("quantity",)),
    ("brand", ("brand",)),
    ("category", ("category",)),
    ("price", ("price",)),
    ("delivery_category", ("delivery_category",)),
)
"""The keys of an entry and the keys of the product from which they come.

`price` is `item_price` in `conversions`. `delivery_category` is sent in `conversions` only.
"""
SINGLE_PRODUCT = ("product_id", "sku", "quantity", "brand", "category", "price")
"""Properties that describe one product where there is no list of products."""
DELIVERY_CATEGORIES = frozenset({"in_store", "curbside", "home_delivery"})
"""Values of `delivery_category` (Meta: custom data parameters)."""


def contents_of(dialect: Dialect, without_id: Callable[[], None]) -> Callable[[Any], list[dict[str, Any]]]:
    """Make the function from `products` (a list, or a single object) to `contents`.

    The function runs once for each event with products. It calls `without_id` for each product that it leaves out.
    """
    texts: MemoCache[str, str | None] = MemoCache(_trimmed, 4096)
    is_conversions = dialect is Dialect.CONVERSIONS
    price_key = "item_price" if is_conversions else "price"

    def contents(products: Any) -> list[dict[str, Any]]:
        entries = []
        for product in products if products.__class__ is list else (products,):
            if product.__class__ is not dict:
                if product is not None:
                    without_id()
                continue
            get = product.get
            identifier = get("product_id")
            if identifier is None:
                identifier = get("id")
            if identifier.__class__ is int:
                identifier = str(identifier) if -(10**18) < identifier < 10**18 else _id_of(product)
            else:
                identifier = identifier.strip() if identifier.__class__ is str and len(identifier) <= MAX_TEXT else None
                if not identifier:
                    identifier = _id_of(product)
            if identifier is None:
                without_id()
                continue
            quantity = get("quantity", 1)
            if quantity.__class__ is not int or not 0 < quantity < 2**63:
                quantity = number_of(quantity)
                quantity = quantity if quantity is not None and quantity > 0 else 1
            entry = {"id": identifier, "quantity": quantity}
            brand = get("brand")
            if brand is not None:
                brand = texts[brand] if brand.__class__ is str else text_of(brand)
                if brand is not None:
                    entry["brand"] = brand
            category = get("category")
            if category is not None:
                category = texts[category] if category.__class__ is str else text_of(category)
                if category is not None:
                    entry["category"] = category
            price = get("price")
            if price is not None:
                if price.__class__ is not float or price - price != 0.0:
                    price = number_of(price)
                if price is not None:
                    entry[price_key] = price
            if is_conversions and "delivery_category" in product:
                delivery = product["delivery_category"]
                if delivery.__class__ is str and delivery in DELIVERY_CATEGORIES:
                    entry["delivery_category"] = delivery
            entries.append(entry)
        return entries

    return contents


def _id_of(product: dict[str, Any]) -> str | None:
    """The first usable ID, as a text."""
    for key in ID_SOURCES:
        text = text_of(product.get(key))
        if text is not None and len(text) <= MAX_TEXT:
            return text.strip()
    return None


def _trimmed(text: str) -> str | None:
    usable = text_of(text)
    return usable.strip() if usable is not None else None
