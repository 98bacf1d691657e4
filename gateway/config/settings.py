"""The tree of settings: every key with its type, range, default, meaning and unit.

`docs/configuration.md` is made of it.
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
"""Events that Meta takes in one call (Meta: using the API; Meta's offline uploader)."""

MAPPED_FIELDS = (
    *("email", "phone", "gender", "birthday", "first_name", "last_name", "city", "state", "zip", "country"),
    *("external_id", "madid", "lead_id", "client_user_agent", "fbc", "fbp", "client_ip_address", "name"),
    *("event_time", "action_source", "event_source_url", "event_id", "upload_tag"),
    *("value", "currency", "order_id", "item_number", "contents"),
)
"""Fields that `extra_fields` may name: those of the mapping's table."""
_FIELD_LIST = ", ".join(MAPPED_FIELDS)

MOST_WORKERS = 64
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


def _size(given: Any) -> Any:
    """Bytes from a number or a text such as `4MiB`; whatever else stays for pydantic to refuse."""
    if isinstance(given, str):
        match = _SIZE.fullmatch(given.strip())
        if not match:
            raise ValueError('may be a size in bytes such as 4194304 or "4MiB"')
        return int(float(match[1]) * _UNITS[match[2] or "B"])
    return given


def _workers(given: Any) -> Any:
    """A number of processes, or `auto`."""
    if given == "auto" or (isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MOST_WORKERS):
        return given
    raise ValueError(f'has {given!r}, may have 1 to {MOST_WORKERS} or "auto"')


def _name(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", given):
        raise ValueError("a name has up to 64 letters, digits, '_', '-' and '.'")
    return given


def _http_url(given: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", given):
        raise ValueError("may be an http or https URL without credentials, query or fragment")
    return given.rstrip("/")


def _one_or_more(given: Any) -> Any:
    """A list, also of a lone value; event set IDs may be written without quotes."""
    many = given if isinstance(given, list | tuple) else [given]
    return [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in many]


ByteSize = Annotated[int, BeforeValidator(_size), Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_one_or_more), Field(min_length=1)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class _Section(BaseModel):
    """A part of the tree. An unknown key is refused; a refused value is never printed by pydantic."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=False)


class ServerSettings(_Section):
    """The HTTP face for senders."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="TCP port; 0 lets the system choose.")
    unix_socket: str | None = Field(None, description="Path of a Unix socket to listen on as well.")
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = Field(
        1,
        description="Processes that share the port, 1 to 64, each with a spool file of its own and its share of each "
        'lane\'s pace; `"auto"`: one for each core.',
    )
    drain_delay: float = Field(
        2.0,
        ge=0,
        le=300,
        description="Seconds after the signal to stop for which requests are still taken; `/readyz` says 503 at once.",
    )
    drain_timeout: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Seconds in which what was accepted is uploaded after that. What is left stays in the spool.",
    )
    read_timeout: float = Field(
        20.0, gt=0, le=600, description="Seconds within which a sender must have sent its whole request."
    )
    max_event_bytes: ByteSize = Field(
        32 * 1024, description="Largest event: of a single call as received, of a batch's events as mapped."
    )
    max_request_bytes: ByteSize = Field(4 * 2**20, description="Largest request body, after decompression.")
    max_in_flight_bytes: ByteSize = Field(
        64 * 2**20,
        description="Request bodies held in memory at once, counted as received; beyond it requests get 429.",
    )


class AdminSettings(_Section):
    """The HTTP face for operators: health, metrics, status."""

    host: str = Field("127.0.0.1", description="Address to listen on; anything but loopback demands a token.")
    port: Port = Field(8081, description="TCP port; 0 lets the system choose.")
    token: Secret | None = Field(
        None,
        validate_default=True,
        description="Bearer token for everything but `/healthz` and `/readyz`.",
        examples=['{ env = "GATEWAY_ADMIN_TOKEN" }'],
    )

    @field_validator("token")
    @classmethod
    def _demanded_off_loopback(cls, token: Secret | None, info: ValidationInfo) -> Secret | None:
        host = info.data.get("host", "127.0.0.1")
        if token is None and host not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError(f"is demanded when admin.host is {host}, not loopback")
        return token


class SpoolEngine(StrEnum):
    """Where accepted events wait."""

    SQLITE = "sqlite"
    """On disk: an accepted event survives a crash."""
    MEMORY = "memory"
    """In memory: for load tests; a crash loses what waits."""


class SpoolSettings(_Section):
    """Where accepted events wait until they are delivered."""

    engine: SpoolEngine = Field(
        SpoolEngine.SQLITE, description="`sqlite` keeps events on disk; `memory` loses them at a crash."
    )
    path: str = Field("spool", description="Directory of the spool's files, made if it is not there.")
    max_bytes: Annotated[int, BeforeValidator(_size), Field(ge=2**20)] = Field(
        10 * 2**30,
        description="Largest size of the spool, at least 1 MiB. When it is full, requests get 503 until there is room.",
    )
    lane_quota: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of `max_bytes` that the waiting events of one lane may take; beyond it requests with events "
        "of that lane get 503, and the others go on.",
    )
    dead_letter_days: float = Field(
        30.0, gt=0, le=3650, description="Days for which dead letters are kept; older ones are let go, and counted."
    )
    dead_letter_bytes: ByteSize = Field(
        2**30, description="Size of the dead letters beyond which the oldest are let go, and counted."
    )
    max_pending_bytes: ByteSize = Field(
        64 * 2**20,
        description="Mapped events that wait in memory for the next commit; beyond it requests get 429.",
    )


class DedupSettings(_Section):
    """Events that a sender sends again, told by their `messageId`: each destination takes them once."""

    events: int = Field(
        200_000,
        ge=0,
        le=10_000_000,
        description="Events that each destination remembers at least (and at most twice as many); 0: none.",
    )
    age: float = Field(3600.0, gt=0, le=604_800, description="Seconds for which it remembers at least, within that.")


class LogFormat(StrEnum):
    """How a log line looks."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least severe line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LoggingSettings(_Section):
    """The log, on standard error."""

    level: LogLevel = Field(LogLevel.INFO, description="The least severe line that is written.")
    format: LogFormat = Field(
        LogFormat.AUTO,
        description="`json`: an object a line; `text`: for people; `auto`: text on a terminal, else json.",
    )


class AlertSettings(_Section):
    """Who is told when a lane is blocked, and when it goes on."""

    webhook: Secret | None = Field(
        None,
        description="URL that gets a POST with JSON: `text`, `event` (`lane_blocked`, `lane_resumed`), the lane, "
        "`kind`, `code`, `waiting`, `at`. A secret, since such URLs hold one.",
        examples=['{ env = "ALERT_WEBHOOK" }'],
    )

    @field_validator("webhook")
    @classmethod
    def _is_url(cls, webhook: Secret | None) -> Secret | None:
        if webhook is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", webhook.reveal()):
            raise ValueError(f"{webhook.origin} is no http or https URL")
        return webhook


class SourceSettings(_Section):
    """Who may send, and where its events go."""

    write_key: Secret = Field(
        description="The key that the sender gives, as in RudderStack and Segment.",
        examples=['{ env = "SHOP_WRITE_KEY" }'],
    )
    destinations: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="Names of the destinations that get its events.", examples=['["store"]']
    )


class BatchSettings(_Section):
    """When a batch leaves. Whatever comes first."""

    max_events: int | None = Field(
        None,
        ge=1,
        le=max(MAX_EVENTS.values()),
        description="Events; at most, and by default, 1000 for `conversions` and 2000 for `offline`.",
    )
    max_bytes: Annotated[int, BeforeValidator(_size), Field(ge=2**16, le=64 * 2**20)] = Field(
        4 * 2**20, description="Size of the joined events, 64 KiB to 64 MiB."
    )
    max_age: float = Field(5.0, ge=0.01, le=3600, description="Seconds that the oldest event waits for company.")


class TokenPlace(StrEnum):
    """Where the access token stands in a call. Never in the URL."""

    BODY = "body"
    BEARER = "bearer"


class UploadSettings(_Section):
    """How calls to Meta are made. All of it holds for each lane by itself."""

    requests_per_second: float = Field(10.0, gt=0, le=1000, description="Calls a second, evenly paced.")
    concurrency: int = Field(4, ge=1, le=64, description="Calls under way at once.")
    timeout: float = Field(30.0, gt=0, le=600, description="Seconds for a whole call.")
    connect_timeout: float = Field(5.0, gt=0, le=60, description="Seconds to get a connection.")
    backoff_base: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Seconds: upper end of the first random pause after a temporary failure.",
    )
    backoff_max: float = Field(300.0, gt=0, le=86400, description="Seconds: upper end of any such pause.")
    graph_url: HttpUrl = Field("https://graph.facebook.com", description="Where the Graph API is.")
    graph_version: str = Field("v25.0", pattern=r"^v\d{1,3}\.\d{1,2}$", description="Version in the path.")
    ca_file: str | None = Field(
        None, description="File with certificates (PEM) of authorities that are trusted beside the system's."
    )
    token_in: TokenPlace = Field(TokenPlace.BODY, description="`body` or `bearer` (an Authorization header).")

    @field_validator("ca_file")
    @classmethod
    def _is_readable(cls, path: str | None) -> str | None:
        if path is not None:
            import ssl  # noqa: PLC0415 (only where it is used)

            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            except ssl.SSLError:
                raise ValueError(f"{path} has no certificates in PEM form") from None
            except OSError as error:
                raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        return path


class DestinationSettings(_Section):
    """One upload target with its mapping."""

    api: Dialect = Field(
        description="`conversions`: what Meta accepts today. `offline`: the legacy format. No default."
    )
    access_token: Secret = Field(
        description="A system user's token for the dataset.", examples=['{ env = "META_TOKEN" }']
    )
    app_secret: Secret | None = Field(
        None,
        description="When set, every call carries `appsecret_proof`.",
        examples=['{ env = "META_APP_SECRET" }'],
    )
    events_to_standard: Mapping[Text, Texts] = Field(
        {},
        description="Event name to one or more of Meta's standard events, before the built-in table.",
        examples=['{ "Order Completed" = ["Purchase"], "Signup" = ["CompleteRegistration", "Lead"] }'],
    )
    standard_to_event_sets: Annotated[Mapping[Text, Texts], Field(min_length=1)] = Field(
        description="Standard event to one or more event set (dataset) IDs.",
        examples=['{ Purchase = ["1148872185708962"] }'],
    )
    category_to_content_type: Mapping[Text, Text] = Field(
        {}, description="Product category to Meta's `content_type`.", examples=['{ clothing = "product" }']
    )
    value_field: Text = Field("properties.value", description="Where the value stands, tried first.")
    limited_data_usage: bool = Field(default=False, description="Pass the event's data processing options (LDU) on.")
    hashing: bool = Field(
        default=True,
        description="Hash personal values. false: the sender hashes; what is no hash is dropped.",
    )
    hash_external_id: bool | None = Field(
        None, description="Hash the external ID. Default: true for `conversions`, false for `offline`."
    )
    default_country: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")] | None = Field(
        None,
        description="ISO 3166-1 alpha-2 country for phones, states and zips of events without one.",
        examples=['"US"'],
    )
    default_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field(
        "USD", description="ISO 4217 currency of events without one."
    )
    default_value: float = Field(0.0, ge=0, allow_inf_nan=False, description="Value of events without one.")
    purchase_without_value: Annotated[str, Field(pattern="^(send|reject)$")] = Field(
        "send", description="`send` with the default value, or `reject`."
    )
    action_source: str | None = Field(
        None,
        pattern="^(email|website|app|phone_call|chat|physical_store|system_generated|business_messaging|other)$",
        description="Of events without one. Default: `physical_store` for `conversions`, none for `offline`.",
    )
    upload_tag: Text = Field("rudderstack", description="Of events without one.")
    extra_fields: Mapping[Text, Texts] = Field(
        {},
        description="Field to more source paths, tried after the built-in ones.",
        examples=['{ email = ["properties.customer_email"] }'],
    )
    partner_agent: Annotated[str, Field(max_length=22, pattern=r"^[!-~]*[A-Za-z][!-~]*[A-Za-z][!-~]*$")] | None = Field(
        None, description="Names the sending platform: under 23 characters, at least two letters."
    )
    test_event_code: Text | None = Field(
        None, description="Shows events under Test Events. They still count: never leave it on."
    )
    batch: BatchSettings = Field(BatchSettings(), description="When a batch leaves.")
    upload: UploadSettings = Field(UploadSettings(), description="How calls are made.")

    @field_validator("extra_fields")
    @classmethod
    def _of_known_fields(cls, extra: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        if unknown := [name for name in extra if name not in MAPPED_FIELDS]:
            hints = (difflib.get_close_matches(name, MAPPED_FIELDS, n=1) for name in unknown)
            raise ValueError(
                "\n".join(
                    f"has no field {name}; " + (f"was {close[0]} meant?" if close else f"there are {_FIELD_LIST}")
                    for name, close in zip(unknown, hints, strict=True)
                )
            )
        return extra

    @field_validator("batch")
    @classmethod
    def _within_the_dialect(cls, batch: BatchSettings, info: ValidationInfo) -> BatchSettings:
        api = info.data.get("api")
        if api and batch.max_events and batch.max_events > MAX_EVENTS[api]:
            raise ValueError(f"max_events has {batch.max_events}, may have 1 to {MAX_EVENTS[api]} for {api}")
        return batch

    @property
    def limits(self) -> BatchLimits:
        """The batch settings with the dialect's default filled in."""
        return BatchLimits(
            max_events=self.batch.max_events or MAX_EVENTS[self.api],
            max_bytes=self.batch.max_bytes,
            max_age=self.batch.max_age,
        )


class Settings(_Section):
    """The whole tree."""

    server: ServerSettings = Field(ServerSettings(), description="The HTTP face for senders.")
    admin: AdminSettings = Field(AdminSettings(), description="The HTTP face for operators.")
    spool: SpoolSettings = Field(SpoolSettings(), description="Where accepted events wait.")
    dedup: DedupSettings = Field(DedupSettings(), description="Events that a sender sends again.")
    alerts: AlertSettings = Field(AlertSettings(), description="Who is told when a lane is blocked.")
    logging: LoggingSettings = Field(LoggingSettings(), description="The log, on standard error.")
    sources: Annotated[Mapping[Name, SourceSettings], Field(min_length=1)] = Field(description="Who may send, by name.")
    destinations: Annotated[Mapping[Name, DestinationSettings], Field(min_length=1)] = Field(
        description="Upload targets, by name."
    )
