"""Tables of the reference mapper: source paths and keys of every field, and the constants of both dialects."""

from __future__ import annotations

from collections.abc import Mapping

ZIP_SPELLINGS = ["zip", "zipcode", "zip_code", "zipCode", "postalcode", "postal_code", "postalCode"]
PATHS: Mapping[str, list[str]] = {
    "email": ["traits.email", "context.traits.email", "properties.email"],
    "phone": ["traits.phone", "context.traits.phone", "properties.phone"],
    "gender": ["traits.gender", "context.traits.gender"],
    "birthday": [
        *("traits.birthday", "context.traits.birthday", "traits.dateOfBirth", "context.traits.dateOfBirth"),
        *("traits.dateofbirth", "context.dateofbirth", "traits.dob", "context.traits.dob", "traits.DOB"),
        *("context.traits.DOB", "context.traits.dateofbirth"),
    ],
    "first_name": [
        f"{at}.{key}" for at in ("traits", "context.traits") for key in ["firstName", "firstname", "first_name"]
    ],
    "last_name": [
        f"{at}.{key}" for at in ("traits", "context.traits") for key in ["lastName", "lastname", "last_name"]
    ],
    "name": ["traits.name", "context.traits.name"],
    "city": ["traits.address.city", "context.traits.address.city", "traits.city", "context.traits.city"],
    "state": ["traits.state", "context.traits.state", "traits.address.state", "context.traits.address.state"],
    "zip": [
        *[f"traits.{key}" for key in ZIP_SPELLINGS],
        *("traits.address.zipcode", "traits.address.zip_code"),
        *[f"context.traits.{key}" for key in ZIP_SPELLINGS],
        *[f"traits.address.{key}" for key in ZIP_SPELLINGS if key not in {"zipcode", "zip_code"}],
        *[f"context.traits.address.{key}" for key in ZIP_SPELLINGS],
    ],
    "country": ["traits.country", "context.traits.country", "traits.address.country", "context.traits.address.country"],
    "external_id": [
        *("userId", "traits.userId", "traits.id", "context.traits.userId", "context.traits.id", "anonymousId"),
    ],
    "madid": ["context.device.advertisingId"],
    "lead_id": [],
    "client_user_agent": ["context.userAgent"],
    "fbc": ["context.fbc", "properties.fbc"],
    "fbp": ["context.fbp", "properties.fbp"],
    "client_ip_address": ["context.ip"],
    "event_time": ["originalTimestamp", "timestamp"],
    "action_source": ["traits.action_source", "context.traits.action_source", "properties.action_source"],
    "event_source_url": ["context.page.url", "properties.url"],
    "event_id": ["properties.event_id", "properties.eventId", "messageId"],
    "opt_out": ["properties.opt_out"],
    "referrer_url": ["properties.referrer_url"],
    "customer_segmentation": ["properties.customer_segmentation"],
    "original_event_data": ["properties.original_event_data"],
    "attribution_data": ["properties.attribution_data"],
    "app_data": ["properties.app_data"],
    "advertiser_tracking_enabled": ["properties.advertiser_tracking_enabled"],
    "upload_tag": ["properties.upload_tag"],
    "value": ["properties.total", "properties.price", "properties.value", "properties.revenue"],
    "currency": ["properties.currency"],
    "order_id": ["properties.order_id", "properties.orderId"],
    "item_number": ["properties.item_number"],
    "search_string": ["properties.query", "properties.search_string"],
    "contents": ["properties.products"],
}
IDENTITY_KEYS: Mapping[str, tuple[str | None, str | None]] = {
    "email": ("em", "email"),
    "phone": ("ph", "phone"),
    "gender": ("ge", "gen"),
    "first_name": ("fn", "fn"),
    "last_name": ("ln", "ln"),
    "city": ("ct", "ct"),
    "state": ("st", "st"),
    "zip": ("zp", "zip"),
    "country": ("country", "country"),
    "external_id": ("external_id", "extern_id"),
    "madid": ("madid", "madid"),
    "lead_id": ("lead_id", "lead_id"),
    "client_user_agent": ("client_user_agent", "client_user_agent"),
    "fbc": ("fbc", "fbc"),
    "fbp": ("fbp", "fbp"),
    "client_ip_address": ("client_ip_address", None),
    "first_initial": (None, "fi"),
    "first_name_start": (None, "f5first"),
    "last_name_start": (None, "f5last"),
}
"""Field to its key in `conversions` and in `offline`. The birthday is missing: it has three keys in `offline`."""
NAME_STARTS = {
    "first_initial": ("first_name", 1),
    "first_name_start": ("first_name", 5),
    "last_name_start": ("last_name", 5),
}
"""Field to the name from which it is calculated, and its number of letters."""
HAS_VARIANTS = {"first_name", "last_name", "zip"}
"""Fields of which `conversions` may send two hashes."""
NEVER_HASHED = {"lead_id", "fbc", "fbp", "client_user_agent", "client_ip_address"}

BUILT_IN = {
    "Products Searched": "Search",
    "Product Viewed": "ViewContent",
    "Product List Viewed": "ViewContent",
    "Product Added": "AddToCart",
    "Product Added to Wishlist": "AddToWishlist",
    "Checkout Started": "InitiateCheckout",
    "Payment Info Entered": "AddPaymentInfo",
    "Order Completed": "Purchase",
}
TOO_BROAD = [
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
]
ACTION_SOURCES = {
    *("email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging"),
    "other",
}
SWITCHES = {
    "offline": ["FacebookOfflineConversions", "Facebook Offline Conversions"],
    "conversions": [
        *("FacebookOfflineConversions", "Facebook Offline Conversions", "Facebook Conversions", "FACEBOOK_CONVERSIONS"),
        "Facebook Conversions API (Actions)",
    ],
}
"""Names of the destination in `integrations`, by dialect."""
SEGMENTS = {
    *("new_customer_to_business", "new_customer_to_business_line", "new_customer_to_product_area"),
    *("new_customer_to_medium", "existing_customer_to_business", "existing_customer_to_business_line"),
    *("existing_customer_to_product_area", "existing_customer_to_medium", "customer_in_loyalty_program"),
}
EVENT_VALUES = [
    *("opt_out", "referrer_url", "customer_segmentation", "original_event_data", "attribution_data", "app_data"),
    "advertiser_tracking_enabled",
]
"""Fields on the event in `conversions` whose values are not just texts. Their keys are their names."""
MAPPED_NAMES = {"value", "currency", "order_id", "item_number", "contents", "content_type", "products", "upload_tag"}
PERSONAL_NAMES = {
    *("address", "birthdate", "birthday", "city", "customeremail", "customername", "customerphone", "dateofbirth"),
    *("dob", "email", "emailaddress", "familyname", "firstname", "fullname", "gender", "givenname", "lastname"),
    *("mobile", "mobilephone", "name", "phone", "phonenumber", "postalcode", "postcode", "sex", "state", "street"),
    *("surname", "telephone", "zip", "zipcode", "fbc", "fbp"),
}
PERSONAL_PARTS = [
    *("email", "phone", "mobile", "address", "birth", "firstname", "lastname", "surname", "street", "postcode"),
    "passport",
]
"""Parts of a name that make a property personal, wherever they are in it."""
PERSONAL_WORDS = {"ip", "ipv", "ssn"}
"""The same for whole words: `shipping` and `classname` are not personal."""
TEXTS = {"content_name", "content_category", "search_string", "status", "lead_event_source"}
NUMBERS = {"num_items", "predicted_ltv", "net_revenue"}
"""Properties of Meta's `custom_data` that must be texts and numbers. Meta refuses a whole call for another type."""
IDS = {"event_id", "order_id", "item_number"}
"""Fields whose texts count as absent when they are too long."""
