"""Types that several packages share: small, mostly immutable, and without behaviour of their own.

A *source event* is one RudderStack or Segment call. It is mapped to one *mapped event* for each event set that receives
it. Mapped events of one *lane* that were committed together are a *chunk*, and the chunks that one call to Meta carries
are a *batch*. An event that will not be delivered becomes a *dead letter*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, NewType, TypeAlias

ChunkId = NewType("ChunkId", int)
UnixSeconds: TypeAlias = float

JsonObject: TypeAlias = dict[str, Any]

EVENT_SEPARATOR = b",\n"
"""Separates the encoded events of a payload. The payload is therefore the inside of a JSON array; it can also be split
into events again, because an encoded event contains no line feed."""


def join_events(events: Iterable[bytes]) -> bytes:
    """Join encoded events, or payloads, into one payload."""
    return EVENT_SEPARATOR.join(events)


def split_events(payload: bytes) -> list[bytes]:
    """Split a payload into its encoded events."""
    return payload.split(EVENT_SEPARATOR)


class GatewayError(Exception):
    """An error that an operator can fix. The message says what was expected, what was found and what to do."""


class Dialect(StrEnum):
    """The wire format of a destination."""

    CONVERSIONS = "conversions"
    """Conversions API, the format that Meta accepts today."""
    OFFLINE = "offline"
    """The legacy Offline Conversions API."""


class Lane(NamedTuple):
    """The key of events that may share a call to Meta. Each lane has its own queue; no lane waits for another."""

    destination: str
    """Name of the destination in the settings."""
    event_set: str
    """ID of the dataset (formerly the offline event set) at Meta."""
    upload_tag: str

    def __str__(self) -> str:
        """The lane in a log line, with `tag_hash` instead of the upload tag."""
        return f"{self.destination}/{self.event_set}/{self.tag_hash}"

    @property
    def tag_hash(self) -> str:
        """`#` and the first 8 digits of the SHA-256 of the upload tag; `-` if it is empty.

        Logs, metrics and alerts name a tag by it: senders choose the tag, so it may contain personal data. Where an
        operator needs the tag itself, it is shown explicitly.
        """
        if not self.upload_tag:
            return "-"
        return f"#{sha256(self.upload_tag.encode(errors='replace')).hexdigest()[:8]}"


class MappedEvent(NamedTuple):
    """One event in the form in which it is uploaded, as an element of a call's `data`."""

    lane: Lane
    expires_at: int
    """Unix seconds after which Meta rejects the event, and with it the whole call."""
    body: bytes
    """JSON without a line feed."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a source event cannot be mapped."""

    code: str
    """Stable and documented."""
    message: str
    """Says how to fix the event or the settings."""


class NotSent(StrEnum):
    """Why an event is not sent to a destination and nothing of it is kept, which is no error of the sender."""

    CONSENT_DENIED = "consent_denied"
    """The customer denied the consent that the destination needs."""


Mapped: TypeAlias = list[MappedEvent] | Rejection | NotSent | None
"""Result of mapping a source event for one destination.

* a list, never empty: one mapped event for each event set
* a `Rejection`: the event cannot be mapped
* a `NotSent`: the event must not be sent; it is counted under that name
* None: the sender excluded this destination (`integrations`), and the event is ignored
"""


@dataclass(slots=True)
class Chunk:
    """The unit of the spool: encoded events of one lane that are committed together.

    Neither `Chunk` nor `StoredChunk` is changed after it was created. They are not frozen dataclasses because those
    take four times as long to create, and with many lanes there is one chunk for almost every event.
    """

    lane: Lane
    count: int
    """Events in the payload, at least 1."""
    expires_at: int
    """The earliest `expires_at` of its events, unix seconds."""
    payload: bytes
    """The encoded events, joined by `EVENT_SEPARATOR`."""


@dataclass(slots=True)
class StoredChunk:
    """A chunk in the spool, with its ID and the time at which it became durable."""

    id: ChunkId
    chunk: Chunk
    stored_at: UnixSeconds


@dataclass(frozen=True, slots=True)
class Backlog:
    """The events of one lane that are waiting in the spool."""

    lane: Lane
    events: int
    bytes: int
    oldest_stored_at: UnixSeconds | None
    """None if and only if no event is waiting."""


class Stage(StrEnum):
    """The processing step at which an event became a dead letter."""

    MAPPING = "mapping"
    UPLOAD = "upload"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class MetaFault:
    """Meta's codes for a refused event, and the trace ID for its support team.

    Meta's text is not kept, because it may quote personal data.
    """

    code: int | None
    subcode: int | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that will not be delivered, with the reason and with the data that a replay needs."""

    stage: Stage
    code: str
    message: str
    destination: str
    source: str | None
    """Name of the source that sent the event; None unless the stage is `mapping`."""
    lane: Lane | None
    """Lane of the mapped event; None at the stage `mapping`."""
    at: UnixSeconds
    """When it was written."""
    attempts: int
    """Number of calls to Meta that contained the event; 0 if it was never sent."""
    fault: MetaFault | None
    event: bytes | None
    """JSON. At the stage `mapping` the redacted source event (personal values are hashed), otherwise the mapped event.
    None if nothing could be kept: the source event was no JSON object, or was too large."""
    message_id: str | None = None
    """At the stage `mapping` the `messageId` of the source event, otherwise the `event_id` of the mapped event.

    This and `order_id` are short and printable (`gateway.identifiers`); None if the event has no ID, or if it is not
    known. The dialect `offline` has no `event_id`."""
    order_id: str | None = None
    """The order ID of the event."""


class FlushReason(StrEnum):
    """Why a batch was formed."""

    COUNT = "count"
    BYTES = "bytes"
    AGE = "age"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one call to Meta: whole chunks of one lane, oldest first."""

    lane: Lane
    chunks: Sequence[StoredChunk]
    reason: FlushReason

    @property
    def count(self) -> int:
        """Events in the batch."""
        return sum(stored.chunk.count for stored in self.chunks)

    @property
    def ids(self) -> list[ChunkId]:
        """IDs of its chunks, for acknowledging them."""
        return [stored.id for stored in self.chunks]

    def payload(self) -> bytes:
        """The encoded events of all chunks, joined by `EVENT_SEPARATOR`."""
        return join_events(stored.chunk.payload for stored in self.chunks)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits of a batch, and therefore of a chunk."""

    max_events: int
    max_bytes: int
    """Of the joined events, without the rest of the request."""
    max_age: float
    """Seconds after which a batch is sent even if it is not full."""
