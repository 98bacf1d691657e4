"""Routes: the standard events and the event sets for each event name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.config import DestinationSettings
from gateway.model import Dialect

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

STANDARD_EVENTS = (
    *("AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration", "Contact", "CustomizeProduct", "Donate"),
    *("FindLocation", "InitiateCheckout", "Lead", "Other", "Purchase", "Schedule", "Search", "StartTrial"),
    *("SubmitApplication", "Subscribe", "ViewContent"),
)
"""Meta's standard events (Meta: offline uploader). `conversions` also takes names of the advertiser's own."""

DEFAULT_STANDARD_EVENT = "Other"
"""The standard event of every other event name."""


OFFLINE_SWITCHES = ("FacebookOfflineConversions", "Facebook Offline Conversions")
"""Names of the destination in `integrations` of an event. Their entry may also have a `contentType`."""
CONVERSIONS_SWITCHES = ("Facebook Conversions", "FACEBOOK_CONVERSIONS", "Facebook Conversions API (Actions)")
"""Further names for `conversions`: those of RudderStack's and Segment's destinations for the Conversions API."""


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


def switches_of(dialect: Dialect) -> Sequence[str]:
    """Names by which a sender can exclude a destination in `integrations`."""
    return (*OFFLINE_SWITCHES, *CONVERSIONS_SWITCHES) if dialect is Dialect.CONVERSIONS else OFFLINE_SWITCHES


def excluder(dialect: Dialect) -> Callable[[Mapping[str, Any]], bool]:
    """Make the function from `integrations` to whether the sender excludes a destination of the dialect."""
    names = switches_of(dialect)

    def is_excluded(integrations: Mapping[str, Any]) -> bool:
        own = [entry for name in names if (entry := integrations.get(name)) is not None]
        return any(entry is False for entry in own) if own else integrations.get("All") is False

    return is_excluded


def misspelt_standard_event(name: str) -> str | None:
    """The standard event that a name probably means; None if it is one, or is like none."""
    if name in STANDARD_EVENTS:
        return None
    if same := similar_name(name.replace("_", " "), STANDARD_EVENTS):
        return same
    close = difflib.get_close_matches(name.lower(), [standard.lower() for standard in STANDARD_EVENTS], 1, 0.8)
    return next((standard for standard in STANDARD_EVENTS if standard.lower() in close), None)


def similar_name(name: str, known: Sequence[str]) -> str | None:
    """The first known name that differs from a name only in case or spaces."""

    def plain(text: str) -> str:
        return "".join(text.lower().split())

    wanted = plain(name)
    return next((other for other in known if other != name and plain(other) == wanted), None)
