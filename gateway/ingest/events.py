"""Maps the events of one request and collects mapped events, dead letters and counts. No I/O."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple, Protocol

from gateway.identifiers import NO_IDS, EventIds
from gateway.ingest.dedup import DedupWindow, key_of
from gateway.mapping.native import Document
from gateway.model import DeadLetter, JsonObject, Mapped, MappedEvent, MappedRun, NotSent, Rejection, Stage, join_mapped

log = logging.getLogger("gateway.ingest")

MAX_UNREPLAYABLE = 100
"""Dead letters that one request can add and that a replay can do nothing with: those without an event, or of an unknown
type. More of them would only push others out of the spool."""

OBJECT_BYTES = 400
"""Bytes of memory for a mapped, dead-lettered or rejected event in addition to its content."""

CHARACTER_BYTES = 4
"""Bytes of memory for a character of an ID, at most."""

INTERNAL_ERROR = Rejection(
    "internal_error",
    "The gateway failed to map the event; its log has the details. Replay the event after an update.",
)

UNKNOWN_TYPE = Rejection(
    "unknown_type",
    "The event's `type` is missing or unknown. Set it to track, identify, page, screen, group or alias.",
)

IGNORED_TYPES = frozenset({"identify", "page", "screen", "group", "alias"})
"""Calls that are no conversions. They are answered with success and discarded."""


class NativeMapper(Protocol):
    """The part of `gateway.mapping.native.NativeMapper` that ingest uses."""

    def map(
        self, document: Document, selected: bytes, now: int, first: int = 0, /
    ) -> tuple[Sequence[MappedRun], Sequence[int]]:
        """See `gateway.mapping.native.NativeMapper`."""
        ...


class Mapper(Protocol):
    """The part of `gateway.mapping.Mapper` that ingest uses."""

    @property
    def native(self) -> NativeMapper | None:
        """Maps the usual events of a document; None: `map` maps all events."""
        ...

    def map(self, event: Any, now: int, /) -> Mapped:
        """See `gateway.mapping`."""
        ...

    def redact(self, event: Any, now: int | None = None, /) -> bytes | None:
        """The event as JSON with every personal value hashed; None when it cannot be kept."""
        ...

    def ids(self, event: Any, /) -> EventIds:
        """The IDs of an event, for its dead letter."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A sender, and the mappers of the destinations that receive its events."""

    name: str
    mappers: Sequence[tuple[str, Mapper]]
    dedup: Mapping[str, DedupWindow] = field(default_factory=dict)
    """By destination, the deduplication window; empty when deduplication is off."""


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An event that no destination accepted."""

    index: int
    message_id: str | None
    rejection: Rejection

    def as_json(self) -> JsonObject:
        """The entry of `rejected` in the response."""
        return {
            "index": self.index,
            "message_id": self.message_id,
            "code": self.rejection.code,
            "message": self.rejection.message,
        }


class RequestResult:
    """Result of one request. Filled event by event; added to the ledger once."""

    __slots__ = (
        "_unreplayable",
        "accepted",
        "consent_denied",
        "dead_letters",
        "deduplicated",
        "ignored",
        "keys",
        "mapped",
        "mapped_by_destination",
        "rejected",
        "rejections",
        "runs",
        "size",
    )

    def __init__(self) -> None:
        # One is created for each request. A dataclass with default factories takes three times as long.
        self.runs: list[MappedRun] = []
        """Events that the native path mapped."""
        self.mapped: list[MappedEvent] = []
        """Events that the Python path mapped."""
        self.dead_letters: list[DeadLetter] = []
        self.rejected: list[RejectedEvent] = []
        self.accepted = 0
        """Source events that at least one destination accepted."""
        self.ignored = 0
        """Source events that no destination accepted or rejected."""
        self.consent_denied: dict[str, int] = {}
        """By destination, source events that deny the consent that it needs."""
        self.mapped_by_destination: dict[str, int] = {}
        self.keys: dict[str, set[bytes]] = {}
        """By destination, the deduplication keys of the mapped events."""
        self.deduplicated: dict[str, int] = {}
        """By destination, source events that it had accepted before."""
        self.rejections: dict[tuple[str, str], int] = {}
        """Rejected source events, by destination and code."""
        self.size = 0
        """Bytes of memory that `runs`, `mapped`, `dead_letters` and `rejected` take."""
        self._unreplayable = 0  # of `dead_letters`, or left out of them

    def all_runs(self) -> list[MappedRun]:
        """All mapped events."""
        return [*self.runs, *join_mapped(self.mapped)] if self.mapped else self.runs

    def count_mapped(self, destination: str, events: int) -> None:
        """Count mapped events of a destination."""
        self.mapped_by_destination[destination] = self.mapped_by_destination.get(destination, 0) + events

    def count_deduplicated(self, destination: str) -> None:
        """Count a source event that a destination has accepted before."""
        self.deduplicated[destination] = self.deduplicated.get(destination, 0) + 1

    def add_runs(self, destination: str, runs: Sequence[MappedRun]) -> None:
        """Add events that the native path mapped for a destination."""
        if runs:
            self.runs += runs
            self.size += sum([OBJECT_BYTES + len(run.payload) for run in runs])
            self.count_mapped(destination, sum([run.events for run in runs]))

    @property
    def keeps_unreplayable(self) -> bool:
        """Whether a further dead letter is kept that cannot be replayed."""
        return self._unreplayable < MAX_UNREPLAYABLE

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Count a rejection, and keep its dead letter.

        Of those that cannot be replayed, a request keeps `MAX_UNREPLAYABLE`.
        """
        key = letter.destination, letter.code
        self.rejections[key] = self.rejections.get(key, 0) + 1
        if letter.event is None or letter.code == UNKNOWN_TYPE.code:
            self._unreplayable += 1
            if self._unreplayable > MAX_UNREPLAYABLE:
                return
        ids = CHARACTER_BYTES * (len(letter.message_id or "") + len(letter.order_id or ""))
        self.size += OBJECT_BYTES + len(letter.event or b"") + ids
        self.dead_letters.append(letter)

    def reject(self, index: int, event: Any, rejection: Rejection) -> None:
        """Add an event that no destination accepted, for the response."""
        self.size += OBJECT_BYTES
        self.rejected.append(RejectedEvent(index, _message_id(event), rejection))


class Remaining(NamedTuple):
    """A track call that the native path has left to the Python path, for some destinations of its source or for all."""

    position: int
    """Its index in the document."""
    destinations: Sequence[tuple[str, Mapper]]
    is_accepted: bool
    """Whether another destination has accepted it."""


def map_usual(
    source: Source, document: Document, selected: bytes, first: int, now: int, result: RequestResult
) -> list[Remaining]:
    """Map those of the selected track calls that have the usual form; returns the others.

    The event `first + i` of the document is selected where `selected[i]` is 1. Runs a few times a request. For each
    event, Python only looks up the deduplication key.
    """
    keys = document.keys(source.name, first, first + len(selected)) if source.dedup else None
    accepted = 0  # mask of the accepted events as an integer, which unlike bytes has an `or`
    remaining: dict[int, list[tuple[str, Mapper]]] = {}
    for destination, mapper in source.mappers:
        usual, left = (selected, []) if keys is None else _unseen(source, destination, selected, keys, first, result)
        if mapper.native is None:
            left += _indices(usual, first)
        else:
            runs, unusual = mapper.native.map(document, usual, now, first)
            left += unusual
            usual = _without(usual, unusual, first)
            accepted |= int.from_bytes(usual, "little")
            result.add_runs(destination, runs)
            if keys is not None:
                result.keys[destination].update(filter(None, compress(keys, usual)))
        for index in left:
            remaining.setdefault(index, []).append((destination, mapper))
    is_accepted = accepted.to_bytes(len(selected), "little")
    count = is_accepted.count(1)
    result.accepted += count
    undecided = sum([not is_accepted[index - first] for index in remaining])
    result.ignored += selected.count(1) - count - undecided  # every destination has seen these before
    return [
        Remaining(index, destinations, bool(is_accepted[index - first]))
        for index, destinations in sorted(remaining.items())
    ]


def _unseen(
    source: Source, destination: str, selected: bytes, keys: Sequence[bytes | None], first: int, result: RequestResult
) -> tuple[bytes, list[int]]:
    """The mask of the selected events that the destination has not accepted before.

    Indices of events that share their key with another one of these are returned beside it: which of them is accepted
    depends on the outcome of the first.
    """
    window, accepted = source.dedup[destination], result.keys.setdefault(destination, set())
    unique = set(keys)
    if len(unique) == len(keys) and unique.isdisjoint(accepted) and not window.has_any(keys):
        return selected, []  # the usual case
    mask = bytearray(selected)
    counts = Counter(compress(keys, selected))
    repeated: list[int] = []
    for position, key in enumerate(keys):
        if key is None or not mask[position]:
            continue
        if key in accepted or key in window:
            mask[position] = 0
            result.count_deduplicated(destination)
        elif counts[key] > 1:
            mask[position] = 0
            repeated.append(first + position)
    return bytes(mask), repeated


def _indices(selected: bytes, first: int) -> list[int]:
    return [index for index, is_selected in enumerate(selected, first) if is_selected]


def _without(selected: bytes, left: Sequence[int], first: int) -> bytes:
    """The mask without the events that are left."""
    if not left:
        return selected
    mask = bytearray(selected)
    for index in left:
        mask[index - first] = 0
    return bytes(mask)


def map_event(
    source: Source,
    event: Any,
    index: int,
    now: int,
    result: RequestResult,
    max_dead_letter_bytes: int,
    destinations: Sequence[tuple[str, Mapper]] | None = None,
    *,
    was_accepted: bool = False,
) -> None:
    """Map one track call and add the outcome to `result`. Runs once an event that the native path does not map.

    `destinations`: those that the native path has left; None: all of the source. `was_accepted`: by another one.
    The content of a rejected event is not kept when it is larger than `max_dead_letter_bytes` after redaction.
    """
    rejection: Rejection | None = None
    accepted = was_accepted
    dedup = source.dedup
    message_id = event.get("messageId") if dedup else None
    key = key_of(source.name, message_id) if message_id.__class__ is str and message_id else b""
    for destination, mapper in source.mappers if destinations is None else destinations:
        if key and (key in result.keys.setdefault(destination, set()) or key in dedup[destination]):
            result.count_deduplicated(destination)
            continue
        try:
            mapped = mapper.map(event, now)
        except Exception:
            # A bug in the mapper. The event is kept, so that it can be replayed once the bug is fixed.
            log.exception(
                "an event could not be mapped because of an internal error", extra={"destination": destination}
            )
            mapped = INTERNAL_ERROR
        if mapped.__class__ is list:
            result.mapped += mapped
            for one in mapped:
                result.size += OBJECT_BYTES + len(one.body)
            result.count_mapped(destination, len(mapped))
            accepted = True
            if key:
                result.keys[destination].add(key)
        elif isinstance(mapped, Rejection):
            rejection = rejection or mapped
            kept = _kept(mapper, event, now, max_dead_letter_bytes)
            result.add_dead_letter(_dead_letter(source, destination, mapped, kept, now))
        elif mapped is NotSent.CONSENT_DENIED:
            result.consent_denied[destination] = result.consent_denied.get(destination, 0) + 1
    if accepted:
        result.accepted += not was_accepted
    elif rejection is None:
        result.ignored += 1
    else:
        result.reject(index, event, rejection)


def reject_event(
    source: Source,
    event: Any,
    index: int,
    now: int,
    result: RequestResult,
    rejection: Rejection,
    max_dead_letter_bytes: int = 0,
) -> None:
    """Reject an event that must not be passed to a mapper, such as one of an unknown type.

    Its content is kept unless it is larger than `max_dead_letter_bytes` after redaction; 0 keeps none, and saves the
    redaction of an event that is too large for it. An event of any type is redacted as a track call. That is safe:
    redaction keeps only what the mapping of a track call reads, and leaves out the fields that other types have.
    """
    for destination, mapper in source.mappers:
        kept = _kept(mapper, event, now, max_dead_letter_bytes) if result.keeps_unreplayable else (NO_IDS, None)
        result.add_dead_letter(_dead_letter(source, destination, rejection, kept, now))
    result.reject(index, event, rejection)


def _dead_letter(
    source: Source, destination: str, rejection: Rejection, kept: tuple[EventIds, bytes | None], now: int
) -> DeadLetter:
    ids, redacted = kept
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
        message_id=ids.message_id,
        order_id=ids.order_id,
    )


def _kept(mapper: Mapper, event: Any, now: int, max_bytes: int) -> tuple[EventIds, bytes | None]:
    """What is kept of a rejected event: its IDs, and the redacted event if it has at most `max_bytes`."""
    ids = NO_IDS
    try:
        ids = mapper.ids(event)
        redacted = mapper.redact(event, now) if max_bytes else None
    except Exception:
        log.exception("an event could not be redacted because of an internal error; its content is not kept")
        return ids, None
    return ids, redacted if redacted is not None and len(redacted) <= max_bytes else None


def _message_id(event: Any) -> str | None:
    """The `messageId` in ASCII, for the response; None when it is missing, no string, or longer than 200 characters."""
    message_id = event.get("messageId") if event.__class__ is dict else None
    if message_id.__class__ is not str or len(message_id) > 200:
        return None
    return message_id if message_id.isascii() else message_id.encode("ascii", "replace").decode()
