"""The settings: every key with its type, range, default, meaning and unit.

`docs/configuration.md` is generated from the descriptions here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from gateway.config.secret import Secret
from gateway.model import BatchLimits, Dialect

MAX_EVENTS: Mapping[Dialect, int] = {Dialect.CONVERSIONS: 1000, Dialect.OFFLINE: 2000}
"""Events that Meta accepts in one call (Meta: using the API; Meta's offline uploader)."""

MAPPED_FIELDS = (
    *("email", "phone", "gender", "birthday", "first_name", "last_name", "city", "state", "zip", "country"),
    *("external_id", "madid", "lead_id", "client_user_agent", "fbc", "fbp", "client_ip_address", "name"),
    *("event_time", "action_source", "event_source_url", "event_id", "upload_tag", "opt_out", "referrer_url"),
    *("customer_segmentation", "original_event_data", "attribution_data", "app_data", "advertiser_tracking_enabled"),
    *("value", "currency", "order_id", "item_number", "search_string", "contents"),
)
"""Fields that `extra_fields` may name: those of the mapping's table."""

MAX_WORKERS = 64
FIXED_SECTIONS = ("server", "admin", "console", "spool", "dedup")
"""Sections whose changes take effect at the next start."""
ACTION_SOURCES = (
    *("email", "website", "app", "phone_call", "chat", "physical_store"),
    *("system_generated", "business_messaging", "other"),
)
"""Values of `action_source` that Meta accepts (Meta: server event parameters)."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)?", re.ASCII)
_UNITS = {
    "B": 1,
    "KB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
    "TB": 10**12,
    "TiB": 2**40,
}


class InvalidValueError(ValueError):
    """A value is invalid. The message says what is expected, such as `an integer from 1 to 64`."""


def parse_size(given: Any) -> Any:
    """Convert a text such as `4MiB` to bytes. Values of other types are returned unchanged, for pydantic to check."""
    if isinstance(given, str):
        match = _SIZE.fullmatch(given.strip())
        if not match:
            raise InvalidValueError('a size in bytes such as 4194304 or "4MiB"')
        return int(float(match[1]) * _UNITS[match[2] or "B"])
    return given


def _workers(given: Any) -> Any:
    """A number of processes, or `auto`."""
    if given == "auto" or (isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MAX_WORKERS):
        return given
    raise InvalidValueError(f'an integer from 1 to {MAX_WORKERS}, or "auto"')


def _matching(pattern: str, expected: str) -> AfterValidator:
    """Accept texts that match `pattern` as a whole. `expected` describes them."""

    def check(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise InvalidValueError(expected)
        return given

    return AfterValidator(check)


def _strip_slash(url: str) -> str:
    return url.rstrip("/")


def _one_or_more(given: Any) -> Any:
    """A list of a single value or of several. Integers become texts: event set IDs may be written without quotes."""
    values = given if isinstance(given, list | tuple) else [given]
    return [str(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in values]


ByteSize = Annotated[int, BeforeValidator(parse_size), Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[
    str, _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name of 1 to 64 letters, digits, '_', '-' and '.'")
]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_one_or_more), Field(min_length=1)]
HostName = Annotated[
    str,
    Field(max_length=300),
    _matching(
        r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:\d{1,5})?",
        "a host name or address, with or without a port, such as gateway.internal, gateway.internal:8081 or [fd00::1]",
    ),
    AfterValidator(str.lower),
]
HostNames = Annotated[tuple[HostName, ...], BeforeValidator(_one_or_more), Field(max_length=100)]
EventSets = Annotated[
    tuple[Annotated[str, _matching(r"[0-9]{1,30}", "the ID of an event set (dataset): digits only")], ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
]
HttpUrl = Annotated[
    str,
    _matching(r"https?://[^\s/?#@]+(/[^\s?#]*)?", "an http or https URL without credentials, query and fragment"),
    AfterValidator(_strip_slash),
]


class _Section(BaseModel):
    """A table of the settings file. Unknown keys are errors. Error messages of pydantic do not contain the value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=False)


class ServerSettings(_Section):
    """The HTTP server that senders (SDKs, curl) send events to."""

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. `0.0.0.0` listens on all IPv4 addresses, `::` on all IPv6 addresses.",
    )
    port: Port = Field(8080, description="TCP port to listen on. 0 lets the operating system choose a free port.")
    unix_socket: str | None = Field(None, description="Path of a Unix socket to listen on in addition to the TCP port.")
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = Field(
        1,
        description='Number of worker processes, 1 to 64, or `"auto"` for one for each CPU core. Workers share the '
        "port. Each has a spool file of its own, an equal share of `spool.max_bytes`, and an equal share of "
        "`upload.requests_per_second`.",
    )
    drain_delay: float = Field(
        2.0,
        ge=0,
        le=300,
        description="Seconds after SIGTERM or SIGINT in which requests are still accepted. `/readyz` returns 503 from "
        "the signal on, so that load balancers stop sending requests.",
    )
    drain_timeout: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Maximum time in seconds, after `drain_delay`, for uploading the accepted events before the "
        "process exits. Events that are left stay in the spool and are uploaded after the next start.",
    )
    read_timeout: float = Field(
        20.0,
        gt=0,
        le=600,
        description="Maximum time in seconds in which a sender has to send its complete request. After that the "
        "request gets 408, or the connection is closed.",
    )
    max_event_bytes: ByteSize = Field(
        32 * 1024,
        description="Maximum size of one mapped event. The body of a request with a single event must not be larger "
        "either, after decompression.",
    )
    max_request_bytes: ByteSize = Field(
        4 * 2**20, description="Maximum size of a request body after decompression. Larger requests get 413."
    )
    max_memory: Annotated[int, BeforeValidator(parse_size), Field(ge=16 * 2**20)] = Field(
        256 * 2**20,
        description="Memory that senders can make one process hold: requests being read and decoded, responses that "
        "are not read, events that wait for their commit, and the cache of the newest events. Requests beyond it get "
        "429. At least 16 MiB; each worker has it for itself.",
    )
    max_batch_events: int = Field(
        2500, ge=1, le=100_000, description="Maximum number of events in a batch; a larger batch gets 413."
    )
    max_connections: int | None = Field(
        None,
        ge=16,
        le=1_000_000,
        description="Maximum number of connections of senders to a worker. Default: 10,000, or what the limit of open "
        "files allows. At the limit, an idle connection that has sent no request, or no valid write key, is closed for "
        "a new one; if there is none, the new one is closed.",
    )


class AdminSettings(_Section):
    """The HTTP server for operators: health checks, metrics, status and dead letters."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on. Any address other than a loopback address requires `token`."
    )
    port: Port = Field(8081, description="TCP port to listen on. 0 lets the operating system choose a free port.")
    hosts: HostNames = Field(
        (),
        description="Further names under which the admin port is reached, each with or without a port: of a proxy, a "
        "service or a container. A request is refused with 403 unless its `Host` header is a loopback name or address, "
        "`host`, the address at which it arrived, or one of these. This protects against web pages that reach the port "
        "under a name of their own (DNS rebinding). `/healthz` and `/readyz` accept any `Host`.",
        examples=['["gateway.internal", "10.0.0.7:8081"]'],
    )
    token: Secret | None = Field(
        None,
        validate_default=True,
        description="Bearer token that is required for all routes except `/healthz` and `/readyz`.",
        examples=['{ env = "GATEWAY_ADMIN_TOKEN" }'],
    )

    read_token: Secret | None = Field(
        None,
        validate_default=True,
        description="Bearer token with which all routes can be read, and nothing can be changed. It requires `token` "
        "and must differ from it.",
        examples=['{ env = "GATEWAY_READ_TOKEN" }'],
    )

    @field_validator("token")
    @classmethod
    def _required_off_loopback(cls, token: Secret | None, info: ValidationInfo) -> Secret | None:
        host = info.data.get("host", "127.0.0.1")
        if token is None and host not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError(f"missing; required because admin.host {host} is not a loopback address")
        return token

    @field_validator("read_token")
    @classmethod
    def _beside_token(cls, read_token: Secret | None, info: ValidationInfo) -> Secret | None:
        if read_token is None or "token" not in info.data:
            return read_token  # not set, or `token` has an error of its own
        token = info.data["token"]
        if token is None:
            raise ValueError("requires admin.token; without it, everybody may read and change everything")
        if token.reveal() == read_token.reveal():
            raise ValueError("has the value of admin.token; expected a different one")
        return read_token


class ConsoleSettings(_Section):
    """The console on the admin port, and the data that is recorded for it: history, event trace, live view."""

    enabled: bool = Field(
        default=True,
        description="Serve the console, and record its data. With `false`, the admin port has no pages, and no history "
        "or trace is written.",
    )
    trace_days: float = Field(
        7.0,
        ge=0,
        le=62,
        description="Days for which the console can tell what became of an event, by its message ID or order ID. The "
        "IDs are kept in files beside the spool. 0 turns this off.",
    )
    trace_max_bytes: Annotated[int, BeforeValidator(parse_size), Field(ge=2**20)] = Field(
        256 * 2**20,
        description="Maximum size of these files; each worker has an equal share. Beyond it, the oldest events are "
        "deleted from them. An event takes 120 to 230 bytes; at least 1 MiB.",
    )
    quality: bool = Field(
        default=True,
        description="Show Meta's Dataset Quality, which is read from Meta at most every 15 minutes while somebody "
        "looks at it. The access token of the destination needs the permissions `ads_read` and `ads_management` or "
        "`business_management`.",
    )
    show_ids: bool = Field(
        default=True,
        description="Show message IDs and order IDs. With `false`, events are found by these IDs, but no page shows "
        "any.",
    )


class SpoolEngine(StrEnum):
    """Storage of accepted events."""

    SQLITE = "sqlite"
    """On disk: an accepted event survives a crash."""
    MEMORY = "memory"
    """In memory, for load tests: waiting events are lost when the process ends."""


class SpoolSettings(_Section):
    """The storage of accepted events until they are delivered, and of dead letters."""

    engine: SpoolEngine = Field(
        SpoolEngine.SQLITE,
        description="`sqlite` stores events on disk. `memory` is for load tests only: events are lost when the process "
        "ends.",
    )
    path: str = Field(
        "spool",
        description="Directory of the spool files, which is created if it does not exist. A relative path starts at "
        "the working directory.",
    )
    max_bytes: Annotated[int, BeforeValidator(parse_size), Field(ge=2**20)] = Field(
        10 * 2**30,
        description="Maximum size of the spool, events and dead letters together; at least 1 MiB. When the spool is "
        "full, requests get 503 until events have been delivered.",
    )
    lane_quota: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of `max_bytes` that the waiting events of one lane (destination, dataset and upload tag) "
        "may use. Beyond it, requests with events of that lane get 503; other requests are not affected.",
    )
    dead_letter_days: float = Field(
        30.0, gt=0, le=3650, description="Days after which dead letters are deleted. Deleted ones are counted."
    )
    dead_letter_bytes: ByteSize = Field(
        2**30,
        description="Maximum total size of the dead letters; each worker has an equal share. Beyond it, new dead "
        "letters replace old ones: first those without an event, which cannot be replayed, then the oldest. Deleted "
        "ones are counted.",
    )
    dead_letter_share: float = Field(
        0.25,
        gt=0,
        le=0.9,
        description="Maximum size of the dead letters as a share of `max_bytes`; the smaller of this limit and "
        "`dead_letter_bytes` applies. Dead letters are deleted as well when waiting events need their space.",
    )
    max_lanes: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Maximum number of lanes (destination, dataset and upload tag) at a time; each worker has an equal "
        "share. A lane ends ten minutes after its last event was delivered. Beyond the limit, events with a new "
        "upload tag get the default `upload_tag` of the destination instead, and are counted as retagged.",
    )


class DedupSettings(_Section):
    """Deduplication of repeated events: each destination accepts an event with the same `messageId` once."""

    events: int = Field(
        200_000,
        ge=0,
        le=10_000_000,
        description="Minimum number of recent events whose `messageId` each destination remembers; up to twice as many "
        "are kept. 0 turns deduplication off.",
    )
    age: float = Field(
        3600.0,
        gt=0,
        le=604_800,
        description="Minimum time in seconds for which a `messageId` is remembered, unless `events` newer ones arrive "
        "first; the maximum is twice as long.",
    )


class LogFormat(StrEnum):
    """Format of a log line."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """Minimum severity of the lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LoggingSettings(_Section):
    """The log, which is written to standard error."""

    level: LogLevel = Field(LogLevel.INFO, description="Minimum severity of the lines that are written.")
    format: LogFormat = Field(
        LogFormat.AUTO,
        description="`json`: one JSON object a line. `text`: human-readable lines. `auto`: `text` on a terminal, "
        "otherwise `json`.",
    )


class AlertSettings(_Section):
    """Notifications when the uploads of a lane stop and resume, and when many events of a source are rejected."""

    webhook: Secret | None = Field(
        None,
        description="URL that receives a POST with a JSON object: `text` (a summary for chat services), `event`, `at`. "
        "For `lane_blocked` and `lane_resumed` also `destination`, `event_set`, `tag_hash` (as in the metrics), `kind` "
        "and `code` (why uploads stopped), `waiting` (number of events). For `rejection_rate_high` and "
        "`rejection_rate_normal` also `source`, `rejection_rate`, `limit` (both 0 to 1), `events`, `rejected`, `codes` "
        "(the most frequent ones with their counts). It is a secret because such URLs often contain one. Without it, "
        "these events are only logged.",
        examples=['{ env = "ALERT_WEBHOOK" }'],
    )
    rejection_rate: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Share of the events of a source that may be rejected within five minutes. Above it there is an "
        "alert and a warning in `/status`. 1 turns both off.",
    )
    rejection_min_events: int = Field(
        20,
        ge=1,
        description="Number of events of a source in five minutes from which on `rejection_rate` applies, so that one "
        "rejection of a few events is no alert.",
    )

    @field_validator("webhook")
    @classmethod
    def _is_url(cls, webhook: Secret | None) -> Secret | None:
        if webhook is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", webhook.reveal()):
            raise ValueError(f"invalid value from {webhook.origin} (not shown); expected an http or https URL")
        return webhook


class SourceSettings(_Section):
    """A sender: its write key, and the destinations of its events."""

    write_key: Secret = Field(
        description="Write key with which the sender authenticates, as in the RudderStack and Segment SDKs. Each "
        "source needs its own.",
        examples=['{ env = "SHOP_WRITE_KEY" }'],
    )
    destinations: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="Names of the destinations that receive the events of this source.", examples=['["store"]']
    )


class BatchSettings(_Section):
    """Limits of a batch. It is sent as soon as one of them is reached."""

    max_events: int | None = Field(
        None,
        ge=1,
        le=max(MAX_EVENTS.values()),
        description="Maximum number of events. The default, and Meta's limit, is 1000 for `conversions` and 2000 for "
        "`offline`.",
    )
    max_bytes: Annotated[int, BeforeValidator(parse_size), Field(ge=2**16, le=64 * 2**20)] = Field(
        4 * 2**20, description="Maximum size of the encoded events together, 64 KiB to 64 MiB."
    )
    max_age: float = Field(
        5.0, ge=0.01, le=3600, description="Maximum time in seconds that the oldest event waits for the batch to fill."
    )


class TokenPlace(StrEnum):
    """Where a call carries the access token. It is never in the URL."""

    BODY = "body"
    BEARER = "bearer"


class UploadSettings(_Section):
    """Calls to Meta.

    The limits apply to each lane (destination, dataset and upload tag) separately, except `max_connections`.
    """

    requests_per_second: float = Field(
        10.0, gt=0, le=1000, description="Maximum rate of calls, evenly spaced. Worker processes share it."
    )
    concurrency: int = Field(
        4,
        ge=1,
        le=64,
        description="Maximum number of concurrent calls of a worker. Fewer are allowed after failed or slow calls.",
    )
    max_connections: int = Field(
        64,
        ge=1,
        le=1000,
        description="Maximum number of concurrent calls of a worker for all lanes of the destination together. They "
        "are shared fairly among its datasets; above 3, one dataset uses at most three quarters of them.",
    )
    timeout: float = Field(30.0, gt=0, le=600, description="Maximum duration of a call, in seconds.")
    connect_timeout: float = Field(
        5.0, gt=0, le=60, description="Maximum time for establishing a connection, in seconds."
    )
    backoff_base: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Maximum delay in seconds before the first retry after a temporary failure. The maximum doubles "
        "with each further retry; the delay is random, from 0 to the maximum.",
    )
    backoff_max: float = Field(
        300.0, gt=0, le=86400, description="Upper limit in seconds of the delay before any retry."
    )
    graph_url: HttpUrl = Field("https://graph.facebook.com", description="Base URL of Meta's Graph API.")
    graph_version: Annotated[str, _matching(r"v\d{1,3}\.\d{1,2}", "a version such as v25.0")] = Field(
        "v25.0", description="Version of the Graph API, which is part of the URL of a call."
    )
    ca_file: str | None = Field(
        None,
        description="PEM file with certificates of authorities that are trusted in addition to those of the system.",
    )
    token_in: TokenPlace = Field(
        TokenPlace.BODY,
        description="Where a call carries the access token: in its JSON `body`, or as a `bearer` token in the "
        "Authorization header.",
    )

    @field_validator("ca_file")
    @classmethod
    def _is_readable(cls, path: str | None) -> str | None:
        if path is not None:
            import ssl  # noqa: PLC0415 (only where it is used)

            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            except ssl.SSLError:
                raise ValueError(f"file {path} has no certificate; expected certificates in PEM format") from None
            except OSError as error:
                raise ValueError(f"file {path} cannot be read: {error.strerror}") from None
        return path


class ConsentSettings(_Section):
    """The consent without which an event is not sent to the destination.

    It is read from `context.consentManagement` (RudderStack) and `context.consent.categoryPreferences` (Segment). An
    event that denies it is counted as `consent_denied`, and nothing of it is kept. An event without consent data is
    sent.
    """

    provider: Text | None = Field(
        None,
        description="Consent manager whose categories these are, such as `oneTrust`, `ketch` or `custom`. Consent data "
        "of RudderStack from another provider are not looked at. Without it, the provider does not matter.",
        examples=['"oneTrust"'],
    )
    categories: Texts = Field(
        description="Categories, as the consent manager calls them, that the destination needs.",
        examples=['["C0004"]'],
    )
    resolution: Annotated[str, _matching("and|or", "'and' or 'or'")] | None = Field(
        None,
        description="`and`: none of the categories may be denied. `or`: one that is not denied is enough. Without it, "
        "the event's `resolutionStrategy`, else `and`.",
    )


class DestinationSettings(_Section):
    """A target of uploads: credentials, mapping and datasets."""

    api: Dialect = Field(
        description="Format of the events. `conversions`: Meta's Conversions API, which accepts offline events today. "
        "`offline`: the legacy Offline Conversions API. It cannot be changed while the gateway runs."
    )
    access_token: Secret = Field(
        description="Access token of a system user with access to the datasets. A token in a file is read again when "
        "Meta reports it as invalid.",
        examples=['{ env = "META_TOKEN" }'],
    )
    app_secret: Secret | None = Field(
        None,
        description="Secret of the Meta app. If it is set, every call carries `appsecret_proof`.",
        examples=['{ env = "META_APP_SECRET" }'],
    )
    events_to_standard: Mapping[Text, Texts] = Field(
        {},
        description="Maps an event name to one or more of Meta's standard events. It takes precedence over the "
        "built-in table.",
        examples=['{ "Order Completed" = ["Purchase"], "Signup" = ["CompleteRegistration", "Lead"] }'],
    )
    standard_to_event_sets: Annotated[Mapping[Text, EventSets], Field(min_length=1)] = Field(
        description="Maps a standard event to the IDs of the event sets (datasets) that receive it.",
        examples=['{ Purchase = ["1148872185708962"] }'],
    )
    category_to_content_type: Mapping[Text, Text] = Field(
        {},
        description="Maps a product category to Meta's `content_type`.",
        examples=['{ clothing = "product" }'],
    )
    value_field: Text | None = Field(
        None,
        description="Path of the monetary value in the source event. It is tried before the built-in paths, of which "
        "`properties.total` is the first. A name without a dot is also looked up in `properties`.",
        examples=['"properties.margin"'],
    )
    limited_data_usage: bool = Field(
        default=False,
        description="Pass on the data processing options (Limited Data Use) of an event, from "
        "`context.dataProcessingOptions`.",
    )
    hashing: bool = Field(
        default=True,
        description="Hash personal values with SHA-256. With `false` the sender has to hash them; values that are not "
        "hashed are dropped.",
    )
    hash_external_id: bool | None = Field(
        None,
        description="Hash the external ID. The default is the value of `hashing` for `conversions`, and `false` for "
        "`offline`.",
    )
    external_id_case: Annotated[str, _matching("keep|lower", "'keep' or 'lower'")] = Field(
        "keep",
        description="Case of the external ID: `keep` sends it as it is, `lower` in lower case. Meta matches an ID only "
        "if every channel sends the same form; Meta's Parameter Builder sends lower case.",
    )
    birthday_order: Annotated[str, _matching("day_first|month_first", "'day_first' or 'month_first'")] = Field(
        "day_first",
        description="Order of a birthday such as `2, 5, 1997`, in which both numbers could be the month: `day_first` "
        "or `month_first`. With slashes, the month is first for customers in the US.",
    )
    match_variants: bool = Field(
        default=True,
        description="In `conversions`, send two hashes for a value that Meta's own code normalises in two ways: a name "
        "with white space inside it, and a postal code outside the US with a dash.",
    )
    default_country: Annotated[str, _matching(r"[A-Za-z]{2}", "a two-letter country code such as US")] | None = Field(
        None,
        description="Country (ISO 3166-1 alpha-2) that is assumed for phone numbers, states and postal codes of events "
        "without a country.",
        examples=['"US"'],
    )
    default_currency: Annotated[str, _matching(r"[A-Z]{3}", "a three-letter currency code such as USD")] = Field(
        "USD", description="Currency (ISO 4217) of events without a valid one."
    )
    default_value: float = Field(0.0, ge=0, allow_inf_nan=False, description="Value of events without one.")
    purchase_without_value: Annotated[str, _matching("send|reject", "'send' or 'reject'")] = Field(
        "send",
        description="Handling of purchases without a value: `send` uploads them with `default_value`, `reject` rejects "
        "them.",
    )
    action_source: Annotated[str, _matching("|".join(ACTION_SOURCES), f"one of {', '.join(ACTION_SOURCES)}")] | None = (
        Field(
            None,
            description="`action_source` of events without one: "
            + ", ".join(f"`{name}`" for name in ACTION_SOURCES)
            + ". The default is `physical_store` for `conversions`, and none for `offline`.",
        )
    )
    upload_tag: Text = Field("RudderStack", description="Upload tag of events without one.")
    crm: bool = Field(
        default=False,
        description="Send stages of leads from a CRM, as Meta's Conversion Leads integration needs them: "
        "`action_source` is `system_generated`, `custom_data` has `event_source` `crm` and `lead_event_source`, and "
        "there is no default value, currency or content type. For `conversions` only.",
    )
    lead_event_source: Text | None = Field(
        None,
        validate_default=True,
        description="Name of the CRM, which is sent with each stage. Required with `crm`.",
        examples=['"HubSpot"'],
    )
    allow_properties: Annotated[tuple[Text, ...], BeforeValidator(_one_or_more)] = Field(
        (),
        description="Names of properties that are sent in `custom_data` although the name or the value looks like "
        "personal data. A name of an identity field, such as `email`, is never sent.",
        examples=['["store_address"]'],
    )
    extra_fields: Mapping[Text, Texts] = Field(
        {},
        description="Maps a field of the mapping table to additional source paths, which are tried after the built-in "
        "ones.",
        examples=['{ email = ["properties.customer_email"] }'],
    )
    partner_agent: (
        Annotated[
            str,
            _matching(
                r"(?=.{1,22}$)[!-~]*[A-Za-z][!-~]*[A-Za-z][!-~]*",
                "at most 22 ASCII characters without spaces, at least two of them letters",
            ),
        ]
        | None
    ) = Field(
        None,
        description="`partner_agent` of every call, which identifies the sending platform to Meta: at most 22 ASCII "
        "characters without spaces, at least two of them letters.",
    )
    test_event_code: Text | None = Field(
        None,
        description="Code that shows the events under Test Events in Meta's Events Manager. They also count as real "
        "events, so remove it after the test.",
    )
    consent: ConsentSettings | None = Field(None, description="The consent that the destination needs.")
    batch: BatchSettings = Field(BatchSettings(), description="Limits of a batch.")
    upload: UploadSettings = Field(UploadSettings(), description="Calls to Meta.")

    @field_validator("extra_fields")
    @classmethod
    def _of_known_fields(cls, extra: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        if unknown := [name for name in extra if name not in MAPPED_FIELDS]:
            hints = (difflib.get_close_matches(name, MAPPED_FIELDS, n=1) for name in unknown)
            fields = ", ".join(MAPPED_FIELDS)
            raise ValueError(
                "\n".join(
                    f"unknown field {name!r}; "
                    + (f"did you mean {close[0]!r}?" if close else f"expected one of {fields}")
                    for name, close in zip(unknown, hints, strict=True)
                )
            )
        return extra

    @field_validator("crm")
    @classmethod
    def _is_for_conversions(cls, crm: bool, info: ValidationInfo) -> bool:
        if crm and info.data.get("api") is Dialect.OFFLINE:
            raise ValueError('only for api "conversions"; Meta takes stages of leads in no other format')
        return crm

    @field_validator("lead_event_source")
    @classmethod
    def _required_with_crm(cls, source: str | None, info: ValidationInfo) -> str | None:
        if source is None and info.data.get("crm"):
            raise ValueError("missing; required because crm is true")
        if source is not None and info.data.get("crm") is False:
            raise ValueError("only used with crm; set crm = true, or remove it")
        return source

    @field_validator("batch")
    @classmethod
    def _within_meta_limit(cls, batch: BatchSettings, info: ValidationInfo) -> BatchSettings:
        api = info.data.get("api")
        if api and batch.max_events and batch.max_events > MAX_EVENTS[api]:
            expected = f"an integer from 1 to {MAX_EVENTS[api]} when api is {api}"
            raise ValueError(f"invalid value {batch.max_events} for max_events; expected {expected}")
        return batch

    @property
    def limits(self) -> BatchLimits:
        """The batch settings, with the default of the dialect."""
        return BatchLimits(
            max_events=self.batch.max_events or MAX_EVENTS[self.api],
            max_bytes=self.batch.max_bytes,
            max_age=self.batch.max_age,
        )


class Settings(_Section):
    """All settings."""

    server: ServerSettings = Field(ServerSettings(), description="The HTTP server for senders.")
    admin: AdminSettings = Field(AdminSettings(), description="The HTTP server for operators.")
    console: ConsoleSettings = Field(ConsoleSettings(), description="The console on the admin port.")
    spool: SpoolSettings = Field(SpoolSettings(), description="The storage of accepted events and dead letters.")
    dedup: DedupSettings = Field(DedupSettings(), description="Deduplication of repeated events.")
    alerts: AlertSettings = Field(AlertSettings(), description="Notifications when uploads stop and resume.")
    logging: LoggingSettings = Field(LoggingSettings(), description="The log.")
    sources: Annotated[Mapping[Name, SourceSettings], Field(min_length=1)] = Field(description="Senders, by name.")
    destinations: Annotated[Mapping[Name, DestinationSettings], Field(min_length=1)] = Field(
        description="Targets of uploads, by name."
    )

    @field_validator("admin")
    @classmethod
    def _has_its_own_port(cls, admin: AdminSettings, info: ValidationInfo) -> AdminSettings:
        server = info.data.get("server")
        hosts = {server.host, admin.host} if server is not None else set()
        if server is not None and admin.port == server.port != 0 and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):  # noqa: S104
            raise ValueError(f"port {admin.port} is also server.port; expected a different one")
        return admin
