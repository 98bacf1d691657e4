"""Products as Meta's `contents`: the five keys that go on, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.mapping.json_path import number_of, text_of
from gateway.mapping.memo import MemoCache
from gateway.mapping.normalise import MAX_TEXT


def contents_of(price_key: str, without_id: Callable[[], None]) -> Callable[[Any], list[dict[str, Any]]]:
    """A function from `products` (a list, or a single object) to `contents`. Runs once an event that has products."""
    texts: MemoCache[str, str | None] = MemoCache(_trimmed, 4096)

    def contents(products: Any) -> list[dict[str, Any]]:
        made = []
        for product in products if products.__class__ is list else (products,):
            if product.__class__ is not dict:
                if product is not None:
                    without_id()
                continue
            get = product.get
            number = get("product_id")
            if number is None:
                number = get("id")
            if number.__class__ is int:
                number = str(number) if -(10**18) < number < 10**18 else _id_of(product)
            else:
                number = number.strip() if number.__class__ is str and len(number) <= MAX_TEXT else None
                if not number:
                    number = _id_of(product)
            if number is None:
                without_id()
                continue
            quantity = get("quantity", 1)
            if quantity.__class__ is not int or not 0 < quantity < 2**63:
                quantity = number_of(quantity)
                quantity = quantity if quantity is not None and quantity > 0 else 1
            entry = {"id": number, "quantity": quantity}
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
            made.append(entry)
        return made

    return contents


def _id_of(product: dict[str, Any]) -> str | None:
    """The first ID that can be used, as a text."""
    for key in ("product_id", "id", "sku"):
        text = text_of(product.get(key))
        if text is not None and len(text) <= MAX_TEXT:
            return text.strip()
    return None


def _trimmed(text: str) -> str | None:
    found = text_of(text)
    return found.strip() if found is not None else None
