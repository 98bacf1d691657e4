"""Meta's Graph API: how a request is built, and what a response means. No I/O but for reading a token file.

Everything that is specific to Meta's protocol is here; `gateway.delivery` uses only the names below.
"""

from gateway.meta.access_token import AccessToken
from gateway.meta.error_codes import BlockCause, describe
from gateway.meta.request import GraphRequest, RequestBuilder
from gateway.meta.response import (
    BatchRefused,
    Blocked,
    CountMismatch,
    Delivered,
    EventsRefused,
    Outcome,
    Temporary,
    Throttled,
    classify,
)
from gateway.meta.usage_headers import usage_share, version_warning

__all__ = [
    "AccessToken",
    "BatchRefused",
    "BlockCause",
    "Blocked",
    "CountMismatch",
    "Delivered",
    "EventsRefused",
    "GraphRequest",
    "Outcome",
    "RequestBuilder",
    "Temporary",
    "Throttled",
    "classify",
    "describe",
    "usage_share",
    "version_warning",
]
