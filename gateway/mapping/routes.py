"""Routes: the standard events and the event sets for each event name."""

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
"""The e-commerce events that are mapped without a setting, and their standard events."""

DEFAULT_STANDARD_EVENT = "Other"
"""The standard event of every other event name."""


@dataclass(frozen=True, slots=True)
class Route:
    """The event sets that receive the events of one name as one standard event."""

    event: str
    standard: str
    event_sets: Sequence[str]
    """If it is empty, no event set receives them."""
    configured: bool
    """Whether the settings map the name; else `BUILT_IN` does."""

    @property
    def group_without_products(self) -> bool:
        """Whether `content_type` is `product_group` when the event has no products.

        The name of the source event decides first, then the standard event (RudderStack: content_type).
        """
        if self.event == "Product List Viewed":
            return True
        if self.event == "Product Viewed":
            return not self.configured
        return self.standard == "ViewContent"


def routes_of(destination: DestinationSettings) -> Mapping[str, Sequence[Route]]:
    """The routes of every event name in the settings and in `BUILT_IN`, and of `Other`, for all other names."""
    sets = destination.standard_to_event_sets
    routes: dict[str, Sequence[Route]] = {}
    for name, standards in destination.events_to_standard.items():
        routes[name] = [
            Route(name, standard, tuple(sets.get(standard, ())), configured=True)
            for standard in dict.fromkeys(standards)
        ]
    for name, standard in {**BUILT_IN, DEFAULT_STANDARD_EVENT: DEFAULT_STANDARD_EVENT}.items():
        if name not in routes:
            routes[name] = [Route(name, standard, tuple(sets.get(standard, ())), configured=False)]
    return routes


def similar_name(name: str, known: Sequence[str]) -> str | None:
    """The first known name that differs from a name only in case or spaces."""

    def plain(text: str) -> str:
        return "".join(text.lower().split())

    wanted = plain(name)
    return next((other for other in known if other != name and plain(other) == wanted), None)
