"""Tests of the group commit: durable before the response, one transaction for all waiting requests, size of chunks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.memory_budget import MemoryBudget
from gateway.model import (
    BatchLimits,
    Chunk,
    ChunkId,
    DeadLetter,
    Lane,
    MappedRun,
    Stage,
    StoredChunk,
    join_events,
    split_events,
)
from gateway.spool import CommitQueueFull, GroupCommitter, SpoolFull, SpoolUnavailable
from gateway.spool.group_commit import COMMIT_BYTES, PROBE_SECONDS, RUN_OVERHEAD, STALL_SECONDS, cut_into_chunks
from gateway.spool.size_accounting import size_of
from tests.delivery.virtual_time import run

LANE = Lane("store", "1148872185708962", "rudderstack")
OTHER = Lane("store", "1024592094903800", "rudderstack")
LIMITS = BatchLimits(max_events=1000, max_bytes=1_000_000, max_age=5.0)


def event(lane: Lane = LANE, body: bytes = b"{}", expires_at: int = 100) -> MappedRun:
    return MappedRun(lane, 1, expires_at, body)


def letter(body: bytes | None = b"{}") -> DeadLetter:
    return DeadLetter(Stage.MAPPING, "unmapped_event", "map it", "store", "shop", None, 0.0, 0, None, body)


class BlockingSpool:
    """Records appends; each blocks until the test sets `resume`."""

    def __init__(self) -> None:
        self.appends: list[tuple[Sequence[Chunk], Sequence[DeadLetter]]] = []
        self.resume = asyncio.Event()
        self.append_started = asyncio.Event()
        self.error: Exception | None = None
        self.poison = b"\0"
        """An event that makes each append fail with an unexpected exception."""

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        self.appends.append((chunks, letters))
        self.append_started.set()
        await self.resume.wait()
        if self.error is not None:
            raise self.error
        if any(self.poison in chunk.payload for chunk in chunks):
            raise TypeError("a bug")
        return [StoredChunk(ChunkId(number), chunk, 0.0) for number, chunk in enumerate(chunks, 1)]


class Lanes:
    """A lane registry in which all lanes have the same limits and no quota."""

    def __init__(self, remaining: tuple[int, int]) -> None:
        self._remaining = remaining
        self.received: list[StoredChunk] = []
        self.refused: set[Lane] = set()
        """Lanes whose events are stored under the default tag."""
        self.full: set[Lane] = set()
        """Lanes over their quota."""
        self.asked: list[Lane] = []
        self.retagged_events: Counter[Lane] = Counter()

    def admit(self, lane: Lane) -> Lane:
        self.asked.append(lane)
        return lane._replace(upload_tag="default") if lane in self.refused else lane

    def retagged(self, lane: Lane, events: int) -> None:
        self.retagged_events[lane] += events

    def batch_limits(self, _: Lane) -> BatchLimits:
        return LIMITS

    def remaining(self, _: Lane) -> tuple[int, int]:
        return self._remaining

    def over_quota(self, lane: Lane) -> str | None:
        return "over its quota" if lane in self.full else None

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        self.received.extend(chunks)


class Harness:
    """A running `GroupCommitter` with a fake spool and fake lanes."""

    def __init__(self, memory: int = 10**9, remaining: tuple[int, int] = (1000, 1_000_000)) -> None:
        self.spool = BlockingSpool()
        self.lanes = Lanes(remaining)
        self.budget = MemoryBudget(memory)
        self.committer = GroupCommitter(
            self.spool,  # type: ignore[arg-type] # it has the only method that is used
            self.lanes,
            self.budget,
        )

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.committer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.committer.close()
        self.spool.resume.set()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_sender_waits_until_its_events_are_durable() -> None:
    async with Harness() as harness:
        sender = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()

        assert not sender.done()
        assert harness.lanes.received == []

        harness.spool.resume.set()
        await sender
        assert [stored.chunk.count for stored in harness.lanes.received] == [1]


async def test_requests_that_arrive_during_a_commit_share_the_next_one() -> None:
    async with Harness() as harness:
        first = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()
        others = [asyncio.ensure_future(harness.committer.commit([event()], [letter()])) for _ in range(5)]
        await asyncio.sleep(0)
        harness.spool.resume.set()
        await asyncio.gather(first, *others)

    assert [sum(chunk.count for chunk in chunks) for chunks, _ in harness.spool.appends] == [1, 5]
    assert [len(letters) for _, letters in harness.spool.appends] == [0, 5]


async def test_the_events_of_each_lane_become_one_chunk() -> None:
    async with Harness() as harness:
        harness.spool.resume.set()
        mapped = [event(body=b"1"), event(OTHER, b"2"), event(body=b"3", expires_at=7), event(OTHER, b"4")]
        await harness.committer.commit(mapped, [])

    (chunks, _), *rest = harness.spool.appends
    assert not rest
    assert {chunk.lane: chunk.payload for chunk in chunks} == {LANE: b"1,\n3", OTHER: b"2,\n4"}
    assert {chunk.lane: chunk.expires_at for chunk in chunks} == {LANE: 7, OTHER: 100}


@pytest.mark.parametrize("error", [SpoolFull("full"), SpoolUnavailable("no disk")])
async def test_a_failed_commit_fails_every_request_and_the_next_commit_is_tried(error: Exception) -> None:
    async with Harness() as harness:
        harness.spool.error = error
        harness.spool.resume.set()
        results = await asyncio.gather(
            *(harness.committer.commit([event()], []) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(error)] * 3
        assert harness.lanes.received == []

        harness.spool.error = None
        await harness.committer.commit([event()], [])
        assert len(harness.lanes.received) == 1


async def test_requests_for_which_there_is_no_memory_are_rejected_until_a_commit_ends() -> None:
    async with Harness(memory=2 * (90 + RUN_OVERHEAD) + 100) as harness:
        first = harness.committer.commit([event(body=b"x" * 90)], [])
        await harness.spool.append_started.wait()
        second = harness.committer.commit([event(body=b"x" * 90)], [])
        await asyncio.sleep(0)

        with pytest.raises(CommitQueueFull, match=r"server\.max_memory"):
            await harness.committer.commit([event(body=b"x")], [])

        harness.spool.resume.set()
        await asyncio.gather(first, second)
        await harness.committer.commit([event(body=b"x")], [])
        assert harness.budget.reserved == 0


async def test_a_dead_letter_without_an_event_is_counted_at_its_real_size() -> None:
    """A request of 4 KB can contain a million events that are no objects; each becomes a dead letter."""
    rejected = [letter(None)] * 1000
    async with Harness(memory=100_000) as harness:
        with pytest.raises(CommitQueueFull):
            await harness.committer.commit([], rejected)
        sender = harness.committer.commit([], rejected[:100])
        assert harness.budget.reserved == size_of([], rejected[:100]) > 10_000
        harness.spool.resume.set()
        await sender
        assert harness.budget.reserved == 0


@pytest.mark.parametrize("end", ["durable", "failed", "a bug", "cancelled sender", "cancelled committer"])
async def test_the_memory_of_a_request_is_released_exactly_once(end: str) -> None:
    async with Harness() as harness:
        senders = [asyncio.ensure_future(harness.committer.commit([event()] * 3, [letter()])) for _ in range(3)]
        await harness.spool.append_started.wait()
        senders.append(asyncio.ensure_future(harness.committer.commit([event()], [])))
        assert harness.budget.reserved > 10 * RUN_OVERHEAD
        if end == "failed":
            harness.spool.error = SpoolFull("full")
        if end == "a bug":
            harness.spool.error = TypeError("a bug")
        if end == "cancelled sender":
            senders[0].cancel()
            senders[3].cancel()
        if end == "cancelled committer":
            harness.task.cancel()
        harness.spool.resume.set()
        await asyncio.gather(*senders, return_exceptions=True)
        harness.committer.close()
        await asyncio.gather(harness.task, return_exceptions=True)
        assert harness.budget.reserved == 0


async def test_each_lane_of_a_request_is_admitted_once() -> None:
    async with Harness() as harness:
        harness.spool.resume.set()
        await harness.committer.commit([event(), event(OTHER), event(), event(OTHER), event()], [])
        assert harness.lanes.asked == [LANE, OTHER]
        assert harness.lanes.retagged_events == {}


async def test_events_of_lanes_beyond_the_limit_are_stored_under_the_default_tag_and_counted() -> None:
    default, new, newer = (LANE._replace(upload_tag=tag) for tag in ("default", "new", "newer"))
    async with Harness() as harness:
        harness.lanes.refused = {new, newer}
        harness.spool.error = SpoolUnavailable("no disk")
        harness.spool.resume.set()
        mapped = [event(body=b"1"), event(new, b"2"), event(OTHER, b"3"), event(newer, b"4"), event(default, b"5")]
        with pytest.raises(SpoolUnavailable):
            await harness.committer.commit(mapped, [])
        assert harness.lanes.retagged_events == {}, "they are counted when they are durable"

        harness.spool.error = None
        await harness.committer.commit(mapped, [])
    (chunks, _) = harness.spool.appends[-1]
    assert {chunk.lane: chunk.payload for chunk in chunks} == {LANE: b"1", OTHER: b"3", default: b"2,\n4,\n5"}
    assert harness.lanes.retagged_events == {default: 2}
    assert mapped[1].lane == new, "the request's own events are not changed"


async def test_the_quota_of_the_admitted_lane_applies() -> None:
    async with Harness() as harness:
        harness.lanes.refused = {LANE}
        harness.lanes.full = {LANE._replace(upload_tag="default")}
        with pytest.raises(SpoolFull, match="quota"):
            await harness.committer.commit([event()], [])
        assert harness.budget.reserved == 0
        harness.lanes.full = {LANE}
        harness.spool.resume.set()
        await harness.committer.commit([event()], [])


async def test_a_request_that_a_bug_prevents_from_being_stored_does_not_affect_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Harness() as harness:
        first = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()
        harness.spool.poison = b"poison"
        good, bad, other = (harness.committer.commit([event(body=body)], []) for body in (b"1", b"poison", b"2"))
        harness.spool.resume.set()
        await asyncio.gather(first, good, other)
        with pytest.raises(SpoolUnavailable):
            await bad
        assert "because of a bug" in caplog.text
        await harness.committer.commit([event()], [])
        assert harness.budget.reserved == 0


def test_the_reason_of_a_failure_stays_until_the_spool_works_again() -> None:
    """On virtual time. Without requests, an empty commit is tried at intervals."""

    async def scenario() -> None:
        async with Harness() as harness:
            harness.spool.error = SpoolUnavailable("the file was removed")
            harness.spool.resume.set()
            with pytest.raises(SpoolUnavailable):
                await harness.committer.commit([event()], [])
            for _ in range(100):
                await asyncio.sleep(60)
                assert harness.committer.unavailable_reason == "the file was removed"
            assert 500 < len(harness.spool.appends) < 700
            assert harness.spool.appends[-1] == ([], [])
            harness.spool.error = None
            await asyncio.sleep(PROBE_SECONDS + 1)
            assert harness.committer.unavailable_reason is None
            probes = len(harness.spool.appends)
            await asyncio.sleep(600)
            assert len(harness.spool.appends) == probes

    run(scenario())


def test_a_commit_that_does_not_end_makes_the_gateway_unavailable_and_further_requests_fail_at_once() -> None:
    async def scenario() -> None:
        async with Harness() as harness:
            first = harness.committer.commit([event()], [])
            await asyncio.sleep(STALL_SECONDS - 1)
            assert harness.committer.unavailable_reason is None
            second = harness.committer.commit([event()], [])
            await asyncio.sleep(STALL_SECONDS)
            assert "not completed a commit for 19 seconds" in str(harness.committer.unavailable_reason)
            with pytest.raises(SpoolUnavailable, match="not completed"):
                await harness.committer.commit([event()], [])
            harness.spool.resume.set()
            await asyncio.gather(first, second)
            assert harness.committer.unavailable_reason is None

    run(scenario())


async def test_the_size_of_a_commit_is_bounded() -> None:
    third = b"x" * (COMMIT_BYTES // 3 + 1)
    async with Harness() as harness:
        first = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()
        others = [asyncio.ensure_future(harness.committer.commit([event(body=third)], [])) for _ in range(4)]
        await asyncio.sleep(0)
        harness.spool.resume.set()
        await asyncio.gather(first, *others)

    assert [sum(chunk.count for chunk in chunks) for chunks, _ in harness.spool.appends] == [1, 2, 2]


async def test_close_commits_pending_requests_and_rejects_new_ones() -> None:
    async with Harness() as harness:
        sender = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()
        waiting = harness.committer.commit([event()], [])
        await asyncio.sleep(0)
        harness.committer.close()

        with pytest.raises(SpoolUnavailable):
            await harness.committer.commit([event()], [])

        harness.spool.resume.set()
        await asyncio.gather(sender, waiting, harness.task)
        assert sum(stored.chunk.count for stored in harness.lanes.received) == 2


async def test_a_cancelled_request_is_stored_and_does_not_affect_others() -> None:
    async with Harness() as harness:
        cancelled = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()
        other = harness.committer.commit([event()], [])
        cancelled.cancel()
        harness.spool.resume.set()
        await other
        assert sum(stored.chunk.count for stored in harness.lanes.received) == 2


async def test_pending_requests_fail_when_the_committer_is_cancelled() -> None:
    async with Harness() as harness:
        sender = harness.committer.commit([event()], [])
        await harness.spool.append_started.wait()
        queued = harness.committer.commit([event()], [])
        await asyncio.sleep(0)
        harness.task.cancel()
        results = await asyncio.gather(sender, queued, return_exceptions=True)
        assert [type(result) for result in results] == [SpoolUnavailable, SpoolUnavailable]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    remaining=st.tuples(st.integers(0, 12), st.integers(0, 120)),
    max_events=st.integers(1, 12),
    max_bytes=st.integers(30, 120),
)
def test_chunks_contain_every_event_once_in_order_within_the_limits(
    sizes: list[int], remaining: tuple[int, int], max_events: int, max_bytes: int
) -> None:
    events = [event(body=bytes([65 + number % 26]) * size, expires_at=number) for number, size in enumerate(sizes)]
    limits = BatchLimits(max_events, max_bytes, 5.0)

    chunks = cut_into_chunks(LANE, events, remaining, limits)

    assert split_events(join_events(chunk.payload for chunk in chunks)) == [mapped.payload for mapped in events]
    assert [chunk.count for chunk in chunks] == [len(split_events(chunk.payload)) for chunk in chunks]
    first, *others = chunks
    fits_remaining = first.count <= remaining[0] and len(first.payload) <= remaining[1]
    nothing_fits = remaining[0] < 1 or len(events[0].payload) > remaining[1]
    assert fits_remaining or (nothing_fits and is_within(first, limits))
    assert all(is_within(chunk, limits) for chunk in others)
    start = 0
    for chunk in chunks:
        assert chunk.expires_at == start
        start += chunk.count


def is_within(chunk: Chunk, limits: BatchLimits) -> bool:
    return chunk.count <= limits.max_events and (len(chunk.payload) <= limits.max_bytes or chunk.count == 1)
