"""Meta's Graph API: how a request is built, and what a response means. No I/O but for reading a token file.

Everything that is specific to Meta's protocol is here; `gateway.delivery` uses only the names below.
"""

from gateway.meta.access_check import dataset_request, is_dataset, permissions_request, read_permissions
from gateway.meta.access_token import AccessToken
from gateway.meta.error_codes import BlockCause, describe
from gateway.meta.quality import DatasetCounts, DatasetQuality, OfflineQuality, Score, WebQuality
from gateway.meta.quality_api import is_token_refused, quality_requests, read_counts, read_scores
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
    "DatasetCounts",
    "DatasetQuality",
    "Delivered",
    "EventsRefused",
    "GraphRequest",
    "OfflineQuality",
    "Outcome",
    "RequestBuilder",
    "Score",
    "Temporary",
    "Throttled",
    "WebQuality",
    "classify",
    "dataset_request",
    "describe",
    "is_dataset",
    "is_token_refused",
    "permissions_request",
    "quality_requests",
    "read_counts",
    "read_permissions",
    "read_scores",
    "usage_share",
    "version_warning",
]
