"""Operations on dead letters: list, replay and discard, for a running gateway or for the spool of a stopped one.

A replay processes an event again. A dead letter of the stage `mapping` is mapped with the current settings; any other
is put back into its lane. Removing dead letters and adding their events is one transaction, so an interrupted replay
neither loses nor duplicates an event. A dead letter that still cannot be processed is kept.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Protocol

import orjson

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper, expires_at
from gateway.model import (
    Chunk,
    DeadLetter,
    Lane,
    MappedEvent,
    NotSent,
    Rejection,
    Stage,
    StoredChunk,
    UnixSeconds,
    join_mapped,
)
from gateway.spool import DeadLetterFilter, DeadLetterStore
from gateway.spool.group_commit import cut_into_chunks

PAGE_SIZE = 200
"""Dead letters that are replayed or discarded in one transaction."""
READ_SIZE = 50
"""Dead letters that are read from the spool at a time."""
MAX_PAGE_BYTES = 8 * 2**20
"""Size of the dead letters of a page, at which it ends even if it has fewer than were requested."""
MAX_CODES = 200
"""Codes that are listed. Meta's error codes are part of some, so their number has no other bound."""

PREVIEW_LETTERS = 5000
"""Dead letters that a preview looks at in each process."""

MAX_PROCESSES = 1024
"""With several processes the number of a dead letter is `number in its spool * MAX_PROCESSES + process number`: numbers
are unique, and pages can be read in their order."""

UNKNOWN_TYPE = "unknown_type"
"""Code of events that are no track calls and have no other known type."""


@dataclass(slots=True)
class ReplayResult:
    """Counts of a replay."""

    letters: int = 0
    """Dead letters that were replayed, and so removed."""
    events: int = 0
    """Mapped events that were added to the spool in their place."""
    kept: Counter[str] = field(default_factory=Counter)
    """Dead letters that were not replayed, by reason."""

    def add(self, other: ReplayResult) -> None:
        """Add the counts of another process."""
        self.letters += other.letters
        self.events += other.events
        self.kept += other.kept


@dataclass(slots=True)
class ReplayPreview:
    """What a replay or a deletion would do now."""

    letters: int = 0
    """Matching dead letters that were looked at."""
    replayable: int = 0
    """Those that a replay would process."""
    kept: Counter[str] = field(default_factory=Counter)
    """Those that a replay would not process, by reason."""
    is_complete: bool = True
    """False if more than `PREVIEW_LETTERS` match in a process; the rest was not looked at."""

    def add(self, other: ReplayPreview) -> None:
        """Add the counts of another process."""
        self.letters += other.letters
        self.replayable += other.replayable
        self.kept += other.kept
        self.is_complete = self.is_complete and other.is_complete


class DeadLetterOperations(Protocol):
    """The dead letters of a gateway. Every method may raise `SpoolUnavailable` and `SpoolFull`."""

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """The first matching dead letters with a number above `after`, in the order of their numbers.

        At most `limit`, and fewer if they reach `MAX_PAGE_BYTES`: see `is_full`.
        """
        ...

    async def codes(self) -> Mapping[str, int]:
        """The number of dead letters by code: the `MAX_CODES` most frequent codes."""
        ...

    async def preview(self, where: DeadLetterFilter) -> ReplayPreview:
        """What `replay` would do, without doing it."""
        ...

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """Process the events of the matching dead letters again."""
        ...

    async def discard(self, where: DeadLetterFilter) -> int:
        """Delete the matching dead letters; the number of deleted ones."""
        ...


def is_full(page: Sequence[tuple[int, DeadLetter]], limit: int) -> bool:
    """Whether a page reaches one of its limits, so that further dead letters may follow it."""
    return len(page) >= limit or sum(_size(letter) for _, letter in page) >= MAX_PAGE_BYTES


def _cut(page: list[tuple[int, DeadLetter]], limit: int) -> list[tuple[int, DeadLetter]]:
    """The shortest beginning of a page that is full, or the whole page."""
    size = 0
    for position, (_, letter) in enumerate(page[:limit], 1):
        size += _size(letter)
        if size >= MAX_PAGE_BYTES:
            return page[:position]
    return page[:limit]


def _size(letter: DeadLetter) -> int:
    """Bytes of a dead letter in a page, without the names of its fields."""
    return len(letter.event or b"") + len(letter.message)


class AggregatedDeadLetters:
    """The dead letters of several processes of one gateway."""

    def __init__(self, services: Mapping[int, DeadLetterOperations]) -> None:
        """`services`: by process number."""
        self._services = services

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """See `DeadLetterOperations`. Two pages are in memory at a time, however many processes there are."""
        merged: list[tuple[int, DeadLetter]] = []
        last = math.inf  # a process may have further dead letters above this number, so none above it is returned yet
        for process, service in self._services.items():
            page = [
                (number * MAX_PROCESSES + process, letter)
                for number, letter in await service.find(max(0, (after - process) // MAX_PROCESSES), limit, where)
            ]
            if is_full(page, limit):
                last = min(last, page[-1][0])
            merged = _cut(sorted((entry for entry in (*merged, *page) if entry[0] <= last), key=itemgetter(0)), limit)
            if is_full(merged, limit):
                last = min(last, merged[-1][0])
        return merged

    async def codes(self) -> Mapping[str, int]:
        """See `DeadLetterOperations`."""
        total: Counter[str] = Counter()
        for service in self._services.values():
            total.update(await service.codes())
        return dict(total.most_common(MAX_CODES))

    async def preview(self, where: DeadLetterFilter) -> ReplayPreview:
        """See `DeadLetterOperations`."""
        total = ReplayPreview()
        for service in self._services.values():
            total.add(await service.preview(where))
        return total

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """See `DeadLetterOperations`."""
        total = ReplayResult()
        for service in self._services.values():
            total.add(await service.replay(where))
        return total

    async def discard(self, where: DeadLetterFilter) -> int:
        """See `DeadLetterOperations`."""
        return sum([await service.discard(where) for service in self._services.values()])


class LaneAdmission:
    """Applies `spool.max_lanes` to a replay into the spool of a stopped gateway, as delivery does in a running one."""

    def __init__(self, destinations: Mapping[str, DestinationSettings], lanes: Iterable[Lane], max_lanes: int) -> None:
        """`lanes`: those that have events in the spool."""
        self._destinations = destinations
        self._lanes = set(lanes)
        self._max_lanes = max_lanes

    def admit(self, lane: Lane) -> Lane:
        """The lane under which events of `lane` are to be stored: the same, or the one with the default upload tag."""
        default = lane._replace(upload_tag=self._destinations[lane.destination].upload_tag)
        if lane not in self._lanes and len(self._lanes) >= self._max_lanes:
            lane = default
        self._lanes.add(lane)
        return lane


class DeadLetterService:
    """The dead letters of one open spool."""

    def __init__(
        self,
        spool: DeadLetterStore,
        destinations: Mapping[str, DestinationSettings],
        mappers: Mapping[str, Mapper],
        *,
        stored: Callable[[Sequence[StoredChunk]], None],
        clock: Callable[[], UnixSeconds],
        admit: Callable[[Lane], Lane] = lambda lane: lane,
    ) -> None:
        """`stored` is called with the chunks that a replay added to the spool.

        `admit` returns the lane under which events of a lane are stored: another one if there are too many lanes.
        """
        self._spool = spool
        self._destinations = destinations
        self._mappers = mappers
        self._stored = stored
        self._clock = clock
        self._admit = admit

    def reload(self, destinations: Mapping[str, DestinationSettings], mappers: Mapping[str, Mapper]) -> None:
        """Use other settings from the next replay on."""
        self._destinations = destinations
        self._mappers = mappers

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """See `DeadLetterOperations`."""
        page: list[tuple[int, DeadLetter]] = []
        while not is_full(page, limit):
            requested = min(READ_SIZE, limit - len(page))
            read = await self._spool.dead_letters(page[-1][0] if page else after, requested, where)
            page += read
            if len(read) < requested:
                break
        return _cut(page, limit)

    async def codes(self) -> Mapping[str, int]:
        """See `DeadLetterOperations`."""
        return dict(Counter(await self._spool.count_codes()).most_common(MAX_CODES))

    async def preview(self, where: DeadLetterFilter) -> ReplayPreview:
        """See `DeadLetterOperations`. The events are mapped by mappers of their own, so nothing is counted."""
        preview = ReplayPreview()
        mappers = await asyncio.to_thread(self._uncounted_mappers)
        after = 0
        while page := await self.find(after, PAGE_SIZE, where):
            for _, letter in page:
                events = self._mapped_events(letter, mappers)
                if isinstance(events, str):
                    preview.kept[events] += 1
            preview.letters += len(page)
            after = page[-1][0]
            if preview.letters >= PREVIEW_LETTERS:
                preview.is_complete = not await self.find(after, 1, where)
                break
            await asyncio.sleep(0)  # the spool may answer without waiting, and a preview must not delay others
        preview.replayable = preview.letters - preview.kept.total()
        return preview

    def _uncounted_mappers(self) -> Mapping[str, Mapper]:
        return {name: compile_mapper(name, destination) for name, destination in self._destinations.items()}

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """See `DeadLetterOperations`.

        Only dead letters written before the call are replayed. Meta may refuse an event again while the replay runs; if
        the new dead letter were replayed as well, the call might never end.
        """
        now = self._clock()
        result = ReplayResult()
        where = replace(where, until=now if where.until is None else min(where.until, now))
        after = 0
        while page := await self.find(after, PAGE_SIZE, where):
            after = await self._replay_page(page, result)
        return result

    async def discard(self, where: DeadLetterFilter) -> int:
        """See `DeadLetterOperations`."""
        discarded = 0
        while page := await self.find(0, PAGE_SIZE, where):
            discarded += await self._spool.discard([number for number, _ in page])
        return discarded

    async def _replay_page(self, page: Sequence[tuple[int, DeadLetter]], result: ReplayResult) -> int:
        """Replay a page in one transaction; the number after which the next page begins."""
        replayed: list[int] = []
        mapped: list[MappedEvent] = []
        kept: Counter[str] = Counter()
        for number, letter in page:
            events = self._mapped_events(letter, self._mappers)
            if isinstance(events, str):
                kept[events] += 1
                continue
            replayed.append(number)
            mapped += [event._replace(lane=self._admit(event.lane)) for event in events]
        chunks: list[Chunk] = []
        for run in join_mapped(mapped):
            limits = self._destinations[run.lane.destination].limits
            chunks += cut_into_chunks(run.lane, [run], (limits.max_events, limits.max_bytes), limits)
        if replayed:
            try:
                stored = await self._spool.replay(replayed, chunks)
            except KeyError:
                # One of them was replayed or deleted by another call since the page was read: read the page again.
                return page[0][0] - 1
            self._stored(stored)
        result.letters += len(replayed)
        result.events += sum(chunk.count for chunk in chunks)
        result.kept += kept
        return page[-1][0]

    def _mapped_events(self, letter: DeadLetter, mappers: Mapping[str, Mapper]) -> Sequence[MappedEvent] | str:
        """The mapped events to store again, or the reason why there are none."""
        destination = self._destinations.get(letter.lane.destination if letter.lane else letter.destination)
        if destination is None:
            return "no_destination"
        if letter.event is None:
            return "no_event"
        if letter.code == UNKNOWN_TYPE:
            return UNKNOWN_TYPE  # no settings make it a conversion, and mapping would treat it as a track call
        try:
            event = orjson.loads(letter.event)
        except orjson.JSONDecodeError:
            return "no_event"
        if not isinstance(event, dict):
            return "no_event"
        now = int(self._clock())
        if letter.stage is Stage.MAPPING or letter.lane is None:
            mapped = mappers[letter.destination].map(event, now)
            if isinstance(mapped, Rejection):
                return mapped.code
            if isinstance(mapped, NotSent):
                return mapped.value
            return mapped if mapped is not None else "ignored"
        try:
            expires = expires_at(event, destination.api)
        except (KeyError, TypeError, ValueError, OverflowError):
            return "no_event"
        if expires >= 2**63:
            return "no_event"  # the spool could not store it
        return "expired" if expires <= now else [MappedEvent(letter.lane, expires, letter.event)]
