"""Products as Meta's `contents`: the five keys that go on, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.mapping.walk import number_of, text_of


def contents_of(price_key: str, without_id: Callable[[], None]) -> Callable[[Any], list[dict[str, Any]]]:
    """A function from `products` (a list, or a single object) to `contents`. Runs once an event that has products."""

    def contents(products: Any) -> list[dict[str, Any]]:
        made = []
        for product in products if products.__class__ is list else (products,):
            if product.__class__ is not dict:
                if product is not None:
                    without_id()
                continue
            get = product.get
            number = None
            for key in ("product_id", "id", "sku"):
                number = get(key)
                if number.__class__ is not str or not number or number.isspace() or len(number) > 256:
                    number = text_of(number)
                    if number is None or len(number) > 256:
                        number = None
                        continue
                break
            if number is None:
                without_id()
                continue
            quantity = get("quantity", 1)
            if quantity.__class__ is not int or quantity < 1:
                quantity = number_of(quantity)
                quantity = quantity if quantity is not None and quantity > 0 else 1
            entry = {"id": number, "quantity": quantity}
            for key in ("brand", "category"):
                text = get(key)
                if text is not None and (text := text_of(text)) is not None:
                    entry[key] = text
            if (price := number_of(get("price"))) is not None:
                entry[price_key] = price
            made.append(entry)
        return made

    return contents
