"""The words that the rooms share, as small frozen types. No behaviour beyond what a word means.

The way of an event: a *source event* becomes one *mapped event* for each event set it goes to; mapped events of one
*lane* that were committed together are a *chunk*; chunks that leave together are a *batch*; a batch's answer is an
*outcome*; what Meta will never take is a *dead letter*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, NewType, TypeAlias

ChunkId = NewType("ChunkId", int)
UnixSeconds: TypeAlias = float

JsonObject: TypeAlias = dict[str, Any]

EVENT_SEPARATOR = b",\n"
"""Between the encoded events of a payload. A payload is thereby the inside of a JSON array, and can be split again:
encoded events contain no line feed."""


def join_events(events: Iterable[bytes]) -> bytes:
    """Encoded events, or payloads, as one payload."""
    return EVENT_SEPARATOR.join(events)


def split_events(payload: bytes) -> list[bytes]:
    """The encoded events of a payload."""
    return payload.split(EVENT_SEPARATOR)


class GatewayError(Exception):
    """A fault that an operator can mend: the message says what was expected, what was there, what to do."""


class Dialect(StrEnum):
    """The wire format of a destination."""

    CONVERSIONS = "conversions"
    """Conversions API, what Meta accepts today."""
    OFFLINE = "offline"
    """The legacy Offline Conversions API."""


class Lane(NamedTuple):
    """What may share one upload. Everything after mapping is per lane; lanes never wait for each other."""

    destination: str
    event_set: str
    upload_tag: str

    def __str__(self) -> str:
        return f"{self.destination}/{self.event_set}/{self.upload_tag}"


class MappedEvent(NamedTuple):
    """One event as it will stand in an upload's `data`."""

    lane: Lane
    expires_at: int
    """Unix seconds after which Meta refuses the event (and with it the whole call)."""
    body: bytes
    """JSON without a line break."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A source event that cannot be mapped. `code` is stable and documented; `message` says how to mend it."""

    code: str
    message: str


Mapped: TypeAlias = list[MappedEvent] | Rejection | None
"""What mapping a source event gives, for one destination.

* a list, never empty: one mapped event for each event set
* a `Rejection`: it cannot be mapped
* None: the sender does not want it here (`integrations`), it is ignored
"""


@dataclass(slots=True)
class Chunk:
    """The unit of the spool: encoded events of one lane that are committed together.

    Not changed once made, as `StoredChunk` is not. Neither is frozen: with many lanes there is one for nearly every
    event, and a frozen dataclass takes four times as long to make.
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
    """A chunk with the name that the spool gave it and the time at which it became durable."""

    id: ChunkId
    chunk: Chunk
    stored_at: UnixSeconds


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a lane has waiting in the spool."""

    lane: Lane
    events: int
    bytes: int
    oldest_stored_at: UnixSeconds | None
    """None exactly when nothing waits."""


class Stage(StrEnum):
    """Where an event's way ended."""

    MAPPING = "mapping"
    UPLOAD = "upload"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class MetaFault:
    """What Meta said of a refused event: codes and the trace to quote to its support, never its text."""

    code: int | None
    subcode: int | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that will not be delivered, with the reason and what a replay needs."""

    stage: Stage
    code: str
    message: str
    destination: str
    source: str | None
    """Who sent it; known at the stage `mapping` only."""
    lane: Lane | None
    """Where it was going; None at the stage `mapping`."""
    at: UnixSeconds
    attempts: int
    """Calls that carried the event, 0 when it never left."""
    fault: MetaFault | None
    event: bytes | None
    """JSON: sealed (hashed) source event at the stage `mapping`, the mapped event otherwise.
    None where there was nothing that could be kept (no JSON object, or too large)."""


class FlushReason(StrEnum):
    """Why a batch left its buffer."""

    COUNT = "count"
    BYTES = "bytes"
    AGE = "age"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call carries: whole chunks of one lane, oldest first."""

    lane: Lane
    chunks: Sequence[StoredChunk]
    reason: FlushReason

    @property
    def count(self) -> int:
        """Events in the batch."""
        return sum(stored.chunk.count for stored in self.chunks)

    @property
    def ids(self) -> list[ChunkId]:
        """The names under which the spool settles it."""
        return [stored.id for stored in self.chunks]

    def payload(self) -> bytes:
        """The encoded events of all chunks, joined by `EVENT_SEPARATOR`."""
        return join_events(stored.chunk.payload for stored in self.chunks)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """No batch, and so no chunk, is larger than this."""

    max_events: int
    max_bytes: int
    """Of the joined events, without the request around them."""
    max_age: float
    """Seconds that an event may wait for company."""
