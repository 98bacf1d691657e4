"""What an operator can do with dead letters: look, send once more, let go. On a running gateway or on its spool alone.

A replay goes the normal way once more: a letter of the stage `mapping` is mapped again with the settings of today, any
other goes back to its lane. Letter and events change places in one transaction, so an interruption can neither lose nor
double one. A letter that still cannot go stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Protocol

import orjson

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, expires_at
from gateway.model import Chunk, DeadLetter, Lane, MappedEvent, Rejection, Stage, StoredChunk, UnixSeconds
from gateway.spool import DeadLetterFilter, DeadLetterStore
from gateway.spool.group_commit import cut_into_chunks

PAGE_SIZE = 200
"""Letters that are looked at, and change places, at a time."""


MAX_PROCESSES = 1024
"""Letters of several processes are numbered `their number * PROCESSES + the process's`, so that pages stay in order."""


@dataclass(slots=True)
class ReplayResult:
    """What became of the letters that were meant."""

    letters: int = 0
    """That are gone."""
    events: int = 0
    """Mapped events that wait for their upload in their place."""
    kept: Counter[str] = field(default_factory=Counter)
    """Letters that stay, by the reason."""

    def add(self, other: ReplayResult) -> None:
        """What became of those of another process."""
        self.letters += other.letters
        self.events += other.events
        self.kept += other.kept


class DeadLetterOperations(Protocol):
    """The dead letters of a gateway. Each method raises `SpoolUnavailable` and `SpoolFull`."""

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """Those that match, with a number above `after`, oldest first."""
        ...

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """Send those that match once more."""
        ...

    async def discard(self, where: DeadLetterFilter) -> int:
        """Let those that match go for good; how many."""
        ...


class AggregatedDeadLetters:
    """The dead letters of several processes as those of one gateway."""

    def __init__(self, services: Mapping[int, DeadLetterOperations]) -> None:
        self._desks = services

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """Those that match, with a number above `after`, in the order of their numbers."""
        found = [
            (number * MAX_PROCESSES + process, letter)
            for process, dead_letters in self._desks.items()
            for number, letter in await dead_letters.find(max(0, (after - process) // MAX_PROCESSES), limit, where)
        ]
        return sorted(found, key=itemgetter(0))[:limit]

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """Send those that match once more."""
        done = ReplayResult()
        for dead_letters in self._desks.values():
            done.add(await dead_letters.replay(where))
        return done

    async def discard(self, where: DeadLetterFilter) -> int:
        """Let those that match go for good; how many."""
        return sum([await dead_letters.discard(where) for dead_letters in self._desks.values()])


class DeadLetterService:
    """Works on the dead letters of an open spool. `stored` is told of every chunk that waits anew."""

    def __init__(
        self,
        spool: DeadLetterStore,
        destinations: Mapping[str, DestinationSettings],
        mappers: Mapping[str, Mapper],
        *,
        stored: Callable[[Sequence[StoredChunk]], None],
        clock: Callable[[], UnixSeconds],
    ) -> None:
        self._spool = spool
        self._destinations = destinations
        self._mappers = mappers
        self._stored = stored
        self._clock = clock

    def reload(self, destinations: Mapping[str, DestinationSettings], mappers: Mapping[str, Mapper]) -> None:
        """Replay with other settings from now on."""
        self._destinations = destinations
        self._mappers = mappers

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """Those that match, with a number above `after`, oldest first."""
        return await self._spool.dead_letters(after, limit, where)

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """Send those that match once more. What is refused again comes back as a new letter, not in this run."""
        now = self._clock()
        done = ReplayResult()
        where = replace(where, until=now if where.until is None else min(where.until, now))
        after = 0
        while page := await self._spool.dead_letters(after, PAGE_SIZE, where):
            after = await self._replay_page(page, done)
        return done

    async def discard(self, where: DeadLetterFilter) -> int:
        """Let those that match go for good; how many."""
        gone = 0
        while page := await self._spool.dead_letters(0, PAGE_SIZE, where):
            gone += await self._spool.discard([number for number, _ in page])
        return gone

    async def _replay_page(self, page: Sequence[tuple[int, DeadLetter]], done: ReplayResult) -> int:
        """One page in one transaction; the number after which to go on."""
        going: list[int] = []
        by_lane: dict[Lane, list[MappedEvent]] = {}
        kept: Counter[str] = Counter()
        for number, letter in page:
            found = self._replay_events(letter)
            if isinstance(found, str):
                kept[found] += 1
                continue
            going.append(number)
            for event in found:
                by_lane.setdefault(event.lane, []).append(event)
        chunks: list[Chunk] = []
        for lane, events in by_lane.items():
            limits = self._destinations[lane.destination].limits
            chunks += cut_into_chunks(lane, events, (limits.max_events, limits.max_bytes), limits)
        if going:
            try:
                stored = await self._spool.replay(going, chunks)
            except KeyError:
                # Somebody else took one of them: look at this page again.
                return page[0][0] - 1
            self._stored(stored)
        done.letters += len(going)
        done.events += sum(chunk.count for chunk in chunks)
        done.kept += kept
        return page[-1][0]

    def _replay_events(self, letter: DeadLetter) -> Sequence[MappedEvent] | str:
        """What goes back, or why nothing does."""
        destination = self._destinations.get(letter.destination)
        if destination is None:
            return "no_destination"
        if letter.event is None:
            return "no_event"
        try:
            event = orjson.loads(letter.event)
        except orjson.JSONDecodeError:
            return "no_event"
        now = int(self._clock())
        if letter.stage is Stage.MAPPING or letter.lane is None:
            mapped = self._mappers[letter.destination].map(event, now)
            if isinstance(mapped, Rejection):
                return mapped.code
            return mapped if mapped is not None else "ignored"
        try:
            expires = expires_at(event, destination.api)
        except (KeyError, TypeError, ValueError):
            return "no_event"
        return "expired" if expires <= now else [MappedEvent(letter.lane, expires, letter.event)]
