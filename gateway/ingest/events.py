"""From the calls of a request to mapped events, letters and counts: one pass, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.ingest.dedup import DedupWindow, key_of
from gateway.model import DeadLetter, JsonObject, Mapped, MappedEvent, Rejection, Stage

IGNORED_TYPES = frozenset({"identify", "page", "screen", "group", "alias"})
"""Calls that are no conversion: taken with success, and they go nowhere."""


class Mapper(Protocol):
    """What this room needs of a mapper."""

    def map(self, event: Any, now: int, /) -> Mapped:
        """See `gateway.mapping`."""
        ...

    def redact(self, event: Any, now: int | None = None, /) -> bytes | None:
        """The event without a personal value in it."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends, and the mappers of the destinations that get its events."""

    name: str
    mappers: Sequence[tuple[str, Mapper]]
    dedup: Mapping[str, DedupWindow] = field(default_factory=dict)
    """By destination, the events that it has taken; empty: nobody looks."""


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An event that no destination took."""

    index: int
    message_id: str | None
    rejection: Rejection

    def as_json(self) -> JsonObject:
        """As the sender gets it."""
        return {
            "index": self.index,
            "message_id": self.message_id,
            "code": self.rejection.code,
            "message": self.rejection.message,
        }


class RequestResult:
    """What a request gave. Filled event by event, counted once."""

    __slots__ = (
        "accepted",
        "deduplicated",
        "ignored",
        "keys",
        "letters",
        "mapped",
        "mapped_by_destination",
        "rejected",
    )

    def __init__(self) -> None:
        # Written out: the factories of a dataclass take three times as long, and there is one a request.
        self.mapped: list[MappedEvent] = []
        self.letters: list[DeadLetter] = []
        self.rejected: list[RejectedEvent] = []
        self.accepted = 0
        """Events that at least one destination took."""
        self.ignored = 0
        self.mapped_by_destination: dict[str, int] = {}
        self.keys: dict[str, set[bytes]] = {}
        """By destination, what stands for the events that it is about to take."""
        self.deduplicated: dict[str, int] = {}
        """By destination, events that it had taken before."""


def map_event(source: Source, event: Any, index: int, now: int, result: RequestResult, max_letter_bytes: int) -> None:
    """Map one track call for every destination of its source. Runs once an event."""
    rejection: Rejection | None = None
    accepted = False
    dedup = source.dedup
    message_id = event.get("messageId") if dedup else None
    key = key_of(message_id) if message_id.__class__ is str and message_id else b""
    for destination, mapper in source.mappers:
        if key and (key in result.keys.setdefault(destination, set()) or key in dedup[destination]):
            result.deduplicated[destination] = result.deduplicated.get(destination, 0) + 1
            continue
        mapped = mapper.map(event, now)
        if mapped.__class__ is list:
            result.mapped += mapped
            counts = result.mapped_by_destination
            counts[destination] = counts.get(destination, 0) + len(mapped)
            accepted = True
            if key:
                result.keys[destination].add(key)
        elif isinstance(mapped, Rejection):
            rejection = rejection or mapped
            redacted = mapper.redact(event, now)
            if redacted is not None and len(redacted) > max_letter_bytes:
                redacted = None
            result.letters.append(_letter(source, destination, mapped, redacted, now))
    if accepted:
        result.accepted += 1
    elif rejection is None:
        result.ignored += 1
    else:
        result.rejected.append(RejectedEvent(index, _message_id(event), rejection))


def reject_event(source: Source, event: Any, index: int, now: int, result: RequestResult, rejection: Rejection) -> None:
    """Refuse what no mapper was asked about. Its content is not kept: without a type nobody knows what is personal."""
    for destination, _ in source.mappers:
        result.letters.append(_letter(source, destination, rejection, None, now))
    result.rejected.append(RejectedEvent(index, _message_id(event), rejection))


def _letter(source: Source, destination: str, rejection: Rejection, redacted: bytes | None, now: int) -> DeadLetter:
    return DeadLetter(
        stage=Stage.MAPPING,
        code=rejection.code,
        message=rejection.message,
        destination=destination,
        source=source.name,
        lane=None,
        at=now,
        attempts=0,
        fault=None,
        event=redacted,
    )


def _message_id(event: Any) -> str | None:
    found = event.get("messageId") if event.__class__ is dict else None
    if found.__class__ is not str or len(found) > 200:
        return None
    return found if found.isascii() else found.encode("ascii", "replace").decode()
