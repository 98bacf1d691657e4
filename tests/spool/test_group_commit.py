"""The group commit: durable before the answer, one transaction for all that waited, chunks that fill batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import (
    BatchLimits,
    Chunk,
    ChunkId,
    DeadLetter,
    Lane,
    MappedEvent,
    Stage,
    StoredChunk,
    join_events,
    split_events,
)
from gateway.spool import CommitQueueFull, GroupCommitter, SpoolFull, SpoolUnavailable
from gateway.spool.group_commit import COMMIT_BYTES, cut_into_chunks

LANE = Lane("store", "1148872185708962", "rudderstack")
OTHER = Lane("store", "1024592094903800", "rudderstack")
LIMITS = BatchLimits(max_events=1000, max_bytes=1_000_000, max_age=5.0)


def event(lane: Lane = LANE, body: bytes = b"{}", expires_at: int = 100) -> MappedEvent:
    return MappedEvent(lane, expires_at, body)


def letter(body: bytes = b"{}") -> DeadLetter:
    return DeadLetter(Stage.MAPPING, "unmapped_event", "map it", "store", "shop", None, 0.0, 0, None, body)


class HeldSpool:
    """Records appends; each waits until the test lets it go."""

    def __init__(self) -> None:
        self.appends: list[tuple[Sequence[Chunk], Sequence[DeadLetter]]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        self.appends.append((chunks, letters))
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [StoredChunk(ChunkId(number), chunk, 0.0) for number, chunk in enumerate(chunks, 1)]


class Lanes:
    """Lanes that all have the same limits and quota."""

    def __init__(self, remaining: tuple[int, int]) -> None:
        self._remaining = remaining
        self.received: list[StoredChunk] = []

    def batch_limits(self, _: Lane) -> BatchLimits:
        return LIMITS

    def remaining(self, _: Lane) -> tuple[int, int]:
        return self._remaining

    def over_quota(self, _: Lane) -> str | None:
        return None

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        self.received.extend(chunks)


class Fixture:
    """An intake with its surroundings."""

    def __init__(self, max_pending: int = 10**9, room: tuple[int, int] = (1000, 1_000_000)) -> None:
        self.spool = HeldSpool()
        self.lanes = Lanes(room)
        self.committer = GroupCommitter(
            self.spool,  # type: ignore[arg-type] # the one verb that it uses
            self.lanes,
            max_pending_bytes=max_pending,
        )

    async def __aenter__(self) -> Self:
        self.runner = asyncio.create_task(self.committer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.committer.close()
        self.spool.gate.set()
        await asyncio.gather(self.runner, return_exceptions=True)


async def test_a_sender_waits_until_its_events_are_durable() -> None:
    async with Fixture() as fixture:
        sender = fixture.committer.commit([event()], [])
        await fixture.spool.begun.wait()

        assert not sender.done()
        assert fixture.lanes.received == []

        fixture.spool.gate.set()
        await sender
        assert [stored.chunk.count for stored in fixture.lanes.received] == [1]


async def test_what_arrives_while_a_commit_runs_shares_the_next_one() -> None:
    async with Fixture() as fixture:
        first = fixture.committer.commit([event()], [])
        await fixture.spool.begun.wait()
        others = [asyncio.ensure_future(fixture.committer.commit([event()], [letter()])) for _ in range(5)]
        await asyncio.sleep(0)
        fixture.spool.gate.set()
        await asyncio.gather(first, *others)

    assert [sum(chunk.count for chunk in chunks) for chunks, _ in fixture.spool.appends] == [1, 5]
    assert [len(letters) for _, letters in fixture.spool.appends] == [0, 5]


async def test_events_of_one_lane_become_one_chunk_and_lanes_stay_apart() -> None:
    async with Fixture() as fixture:
        fixture.spool.gate.set()
        mapped = [event(body=b"1"), event(OTHER, b"2"), event(body=b"3", expires_at=7), event(OTHER, b"4")]
        await fixture.committer.commit(mapped, [])

    (chunks, _), *rest = fixture.spool.appends
    assert not rest
    assert {chunk.lane: chunk.payload for chunk in chunks} == {LANE: b"1,\n3", OTHER: b"2,\n4"}
    assert {chunk.lane: chunk.expires_at for chunk in chunks} == {LANE: 7, OTHER: 100}


@pytest.mark.parametrize("error", [SpoolFull("full"), SpoolUnavailable("no disk")])
async def test_a_refused_commit_is_told_to_every_sender_and_the_next_one_is_tried(error: Exception) -> None:
    async with Fixture() as fixture:
        fixture.spool.error = error
        fixture.spool.gate.set()
        answers = await asyncio.gather(
            *(fixture.committer.commit([event()], []) for _ in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [type(error)] * 3
        assert fixture.lanes.received == []

        fixture.spool.error = None
        await fixture.committer.commit([event()], [])
        assert len(fixture.lanes.received) == 1


async def test_more_than_may_wait_is_refused_and_taken_again_after_the_commit() -> None:
    async with Fixture(max_pending=100) as fixture:
        first = fixture.committer.commit([event(body=b"x" * 90)], [])
        await fixture.spool.begun.wait()
        second = fixture.committer.commit([event(body=b"x" * 90)], [])
        await asyncio.sleep(0)

        with pytest.raises(CommitQueueFull):
            await fixture.committer.commit([event(body=b"x" * 20)], [])

        fixture.spool.gate.set()
        await asyncio.gather(first, second)
        await fixture.committer.commit([event(body=b"x" * 20)], [])
        assert fixture.committer.pending_bytes == 0


async def test_one_commit_takes_a_bounded_share_of_what_waits() -> None:
    third = b"x" * (COMMIT_BYTES // 3 + 1)
    async with Fixture() as fixture:
        first = fixture.committer.commit([event()], [])
        await fixture.spool.begun.wait()
        others = [asyncio.ensure_future(fixture.committer.commit([event(body=third)], [])) for _ in range(4)]
        await asyncio.sleep(0)
        fixture.spool.gate.set()
        await asyncio.gather(first, *others)

    assert [sum(chunk.count for chunk in chunks) for chunks, _ in fixture.spool.appends] == [1, 2, 2]


async def test_closing_keeps_what_was_taken_and_takes_nothing_more() -> None:
    async with Fixture() as fixture:
        sender = fixture.committer.commit([event()], [])
        await fixture.spool.begun.wait()
        waiting = fixture.committer.commit([event()], [])
        await asyncio.sleep(0)
        fixture.committer.close()

        with pytest.raises(SpoolUnavailable):
            await fixture.committer.commit([event()], [])

        fixture.spool.gate.set()
        await asyncio.gather(sender, waiting, fixture.runner)
        assert sum(stored.chunk.count for stored in fixture.lanes.received) == 2


async def test_a_sender_that_went_away_does_not_disturb_the_others() -> None:
    async with Fixture() as fixture:
        gone = fixture.committer.commit([event()], [])
        await fixture.spool.begun.wait()
        stays = fixture.committer.commit([event()], [])
        gone.cancel()
        fixture.spool.gate.set()
        await stays
        assert sum(stored.chunk.count for stored in fixture.lanes.received) == 2


async def test_no_sender_hangs_when_the_commits_end_unexpectedly() -> None:
    async with Fixture() as fixture:
        sender = fixture.committer.commit([event()], [])
        await fixture.spool.begun.wait()
        queued = fixture.committer.commit([event()], [])
        await asyncio.sleep(0)
        fixture.runner.cancel()
        answers = await asyncio.gather(sender, queued, return_exceptions=True)
        assert [type(answer) for answer in answers] == [SpoolUnavailable, SpoolUnavailable]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    room=st.tuples(st.integers(0, 12), st.integers(0, 120)),
    max_events=st.integers(1, 12),
    max_bytes=st.integers(30, 120),
)
def test_chunks_hold_every_event_once_in_order_within_room_and_limits(
    sizes: list[int], room: tuple[int, int], max_events: int, max_bytes: int
) -> None:
    events = [event(body=bytes([65 + number % 26]) * size, expires_at=number) for number, size in enumerate(sizes)]
    limits = BatchLimits(max_events, max_bytes, 5.0)

    chunks = cut_into_chunks(LANE, events, room, limits)

    assert split_events(join_events(chunk.payload for chunk in chunks)) == [one.body for one in events]
    assert [chunk.count for chunk in chunks] == [len(split_events(chunk.payload)) for chunk in chunks]
    first, *others = chunks
    fits_room = first.count <= room[0] and len(first.payload) <= room[1]
    nothing_fits = room[0] < 1 or len(events[0].body) > room[1]
    assert fits_room or (nothing_fits and within(first, limits))
    assert all(within(chunk, limits) for chunk in others)
    start = 0
    for chunk in chunks:
        assert chunk.expires_at == start
        start += chunk.count


def within(chunk: Chunk, limits: BatchLimits) -> bool:
    return chunk.count <= limits.max_events and (len(chunk.payload) <= limits.max_bytes or chunk.count == 1)
