"""From an event's name to the event sets that get it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.config import DestinationSettings

BUILT_IN: Mapping[str, str] = {
    "Products Searched": "Search",
    "Product Viewed": "ViewContent",
    "Product List Viewed": "ViewContent",
    "Product Added": "AddToCart",
    "Product Added to Wishlist": "AddToWishlist",
    "Checkout Started": "InitiateCheckout",
    "Payment Info Entered": "AddPaymentInfo",
    "Order Completed": "Purchase",
}
"""The e-commerce events that need no setting."""

DEFAULT_STANDARD_EVENT = "Other"
"""The standard event of a name that is nowhere listed."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where one name goes as one standard event."""

    event: str
    standard: str
    event_sets: Sequence[str]
    """Empty: the events would never arrive."""
    configured: bool
    """From the settings, not from the built-in table."""

    @property
    def group_without_products(self) -> bool:
        """Whether `content_type` is `product_group` when the event brings no products.

        The source event's name counts first, then whatever became ViewContent (RudderStack: content_type).
        """
        if self.event == "Product List Viewed":
            return True
        if self.event == "Product Viewed":
            return not self.configured
        return self.standard == "ViewContent"


def routes_of(destination: DestinationSettings) -> Mapping[str, Sequence[Route]]:
    """Every name that is listed, in the settings or built in, with its routes; `Other` stands for all other names."""
    sets = destination.standard_to_event_sets
    found: dict[str, Sequence[Route]] = {}
    for name, standards in destination.events_to_standard.items():
        found[name] = [Route(name, one, tuple(sets.get(one, ())), configured=True) for one in dict.fromkeys(standards)]
    for name, standard in {**BUILT_IN, DEFAULT_STANDARD_EVENT: DEFAULT_STANDARD_EVENT}.items():
        if name not in found:
            found[name] = [Route(name, standard, tuple(sets.get(standard, ())), configured=False)]
    return found


def similar_name(name: str, known: Sequence[str]) -> str | None:
    """A listed name that differs only in case or spaces."""

    def plain(text: str) -> str:
        return "".join(text.lower().split())

    wanted = plain(name)
    return next((one for one in known if one != name and plain(one) == wanted), None)
