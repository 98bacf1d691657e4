"""The batcher of a lane: batches from the tail cache and from the spool; every event is in one batch, in order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delivery.batcher import MAX_CACHED_BATCHES, LaneBatcher
from gateway.delivery.tail_cache import CHUNK_OVERHEAD
from gateway.memory_budget import MemoryBudget
from gateway.model import Batch, BatchLimits, Chunk, ChunkId, Lane, StoredChunk, join_events, split_events
from gateway.spool.memory import MemorySpool
from tests.delivery import virtual_time

LANE = Lane("store", "1", "tag")
LIMITS = BatchLimits(max_events=10, max_bytes=10_000, max_age=5.0)


class CountingSpool(MemorySpool):
    """Counts its reads."""

    def __init__(self) -> None:
        super().__init__(max_bytes=2**30, clock=lambda: 0.0)
        self.reads = 0

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        self.reads += 1
        return await super().read(lane, after, max_events, max_bytes)


class Fixture:
    """A batcher with its spool, and the numbers of the events that were stored and taken."""

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        self.budget = budget or MemoryBudget(2**28)
        self.spool = CountingSpool()
        self.batcher = LaneBatcher(LANE, LIMITS, self.spool, lambda: 0.0, self.budget)
        self.stored = 0
        self.taken: list[int] = []

    async def open(self) -> Fixture:
        await self.spool.open()
        return self

    async def store(self, *counts: int) -> None:
        """Store chunks with these numbers of events in one commit."""
        chunks = []
        for count in counts:
            bodies = [b"%d" % number for number in range(self.stored, self.stored + count)]
            chunks.append(Chunk(LANE, count, 2**40, join_events(bodies)))
            self.stored += count
        for stored in await self.spool.append(chunks, []):
            self.batcher.stored(stored)

    async def take(self) -> Batch:
        batch = await self.batcher.next()
        assert batch is not None
        self.taken += [int(body) for body in split_events(batch.payload())]
        return batch


def test_a_lane_without_a_backlog_is_never_read_from_the_spool() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        for _ in range(50):
            await fixture.store(3, 7)
            assert (await fixture.take()).count == 10
        assert fixture.taken == list(range(500))
        assert fixture.spool.reads == 0
        assert fixture.budget.cached == 0

    virtual_time.run(run())


def test_a_backlog_is_read_from_the_spool_and_takes_no_cache_memory() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        for _ in range(MAX_CACHED_BATCHES * 10 + 1):
            await fixture.store(1)
        assert fixture.budget.cached == 0
        while fixture.batcher.events >= LIMITS.max_events:
            await fixture.take()
        assert fixture.spool.reads == MAX_CACHED_BATCHES
        assert fixture.taken == list(range(MAX_CACHED_BATCHES * 10))

    virtual_time.run(run())


def test_events_stored_behind_a_backlog_are_taken_after_it() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        await fixture.store(*[1] * (MAX_CACHED_BATCHES * 10 + 5))
        await fixture.take()
        await fixture.store(4)  # cached, while older ones are in the spool only
        assert fixture.budget.cached > 0
        await fixture.take()
        await fixture.store(1)
        await fixture.take()
        assert fixture.taken == list(range(30))
        reads = fixture.spool.reads
        await fixture.store(10)
        await fixture.take()
        assert fixture.spool.reads == reads
        assert fixture.budget.cached == 0

    virtual_time.run(run())


def test_lanes_share_the_memory_budget_and_a_lane_that_exceeds_it_is_read_from_the_spool() -> None:
    async def run() -> None:
        budget = MemoryBudget(2 * (2 * CHUNK_OVERHEAD + 28))  # cached bytes take at most half of it
        first, second = await Fixture(budget).open(), await Fixture(budget).open()
        await first.store(5)
        await second.store(1, 9)  # the second chunk exceeds the budget
        await second.take()
        assert (second.spool.reads, second.taken) == (1, list(range(10)))
        await first.store(5)
        await first.take()
        assert (first.spool.reads, first.taken) == (0, list(range(10)))
        assert budget.cached == 0

    virtual_time.run(run())


def test_after_a_rewind_all_unacknowledged_events_are_read_again() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        await fixture.store(10, 3)
        await fixture.take()
        fixture.batcher.rewind(13)
        assert fixture.budget.cached == 0
        await fixture.take()
        assert fixture.taken == [*range(10), *range(10)]

    virtual_time.run(run())


OPERATIONS = st.lists(
    st.one_of(
        st.lists(st.integers(1, 12), min_size=1, max_size=6).map(lambda counts: ("store", counts)),
        st.just(("take", [])),
        st.just(("acknowledge", [])),
        st.just(("clear", [])),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.integers(0, 12).map(lambda chunks: chunks * (CHUNK_OVERHEAD + 10)))
def test_any_sequence_of_operations_takes_every_event_once_and_in_order(
    operations: list[tuple[str, list[int]]], budget: int
) -> None:
    async def run() -> None:
        fixture = await Fixture(MemoryBudget(2 * budget)).open()
        batches: list[Batch] = []
        for operation, counts in operations:
            if operation == "store":
                await fixture.store(*counts)
            elif operation == "take" and fixture.batcher.events:
                batches.append(await fixture.take())
            elif operation == "acknowledge" and batches:
                await fixture.spool.acknowledge(LANE, batches.pop().ids)
            elif operation == "clear":
                fixture.batcher.clear_cache()
                assert fixture.budget.cached == 0
        fixture.batcher.drain()
        while fixture.batcher.events:
            await fixture.take()
        assert await fixture.batcher.next() is None
        assert fixture.taken == list(range(fixture.stored))
        assert fixture.budget.cached == 0

    virtual_time.run(run())
