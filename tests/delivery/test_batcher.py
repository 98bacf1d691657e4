"""A lane's buffer: what is at hand, what is read from the spool; nothing is left out, doubled or out of turn."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delivery.batcher import MAX_CACHED_BATCHES, LaneBatcher
from gateway.delivery.tail_cache import CHUNK_OVERHEAD, MemoryBudget
from gateway.model import Batch, BatchLimits, Chunk, ChunkId, Lane, StoredChunk, join_events, split_events
from gateway.spool.memory import MemorySpool
from tests.delivery import virtual_time

LANE = Lane("store", "1", "tag")
LIMITS = BatchLimits(max_events=10, max_bytes=10_000, max_age=5.0)


class CountingSpool(MemorySpool):
    """Counts what is read from it."""

    def __init__(self) -> None:
        super().__init__(max_bytes=2**30, clock=lambda: 0.0)
        self.reads = 0

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        self.reads += 1
        return await super().read(lane, after, max_events, max_bytes)


class Fixture:
    """A buffer over a spool, and the numbers of the events that went in and came out."""

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        self.budget = budget or MemoryBudget()
        self.remaining = self.budget.remaining
        self.spool = CountingSpool()
        self.batcher = LaneBatcher(LANE, LIMITS, self.spool, lambda: 0.0, self.budget)
        self.put = 0
        self.taken: list[int] = []

    async def open(self) -> Fixture:
        await self.spool.open()
        return self

    async def store(self, *counts: int) -> None:
        """Chunks of so many events become durable in one commit."""
        chunks = []
        for count in counts:
            bodies = [b"%d" % number for number in range(self.put, self.put + count)]
            chunks.append(Chunk(LANE, count, 2**40, join_events(bodies)))
            self.put += count
        for stored in await self.spool.append(chunks, []):
            self.batcher.stored(stored)

    async def take(self) -> Batch:
        batch = await self.batcher.next()
        assert batch is not None
        self.taken += [int(body) for body in split_events(batch.payload())]
        return batch


def test_a_lane_that_flows_is_never_read_from_the_spool() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        for _ in range(50):
            await fixture.store(3, 7)
            assert (await fixture.take()).count == 10
        assert fixture.taken == list(range(500))
        assert fixture.spool.reads == 0
        assert fixture.budget.remaining == fixture.remaining

    virtual_time.run(run())


def test_a_backlog_is_read_from_the_spool_and_held_nowhere_else() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        for _ in range(MAX_CACHED_BATCHES * 10 + 1):
            await fixture.store(1)
        assert fixture.budget.remaining == fixture.remaining
        while fixture.batcher.events >= LIMITS.max_events:
            await fixture.take()
        assert fixture.spool.reads == MAX_CACHED_BATCHES
        assert fixture.taken == list(range(MAX_CACHED_BATCHES * 10))

    virtual_time.run(run())


def test_what_flows_again_behind_a_backlog_comes_after_it() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        await fixture.store(*[1] * (MAX_CACHED_BATCHES * 10 + 5))
        await fixture.take()
        await fixture.store(4)  # at hand, while older ones are in the spool alone
        assert fixture.budget.remaining < fixture.remaining
        await fixture.take()
        await fixture.store(1)
        await fixture.take()
        assert fixture.taken == list(range(30))
        reads = fixture.spool.reads
        await fixture.store(10)
        await fixture.take()
        assert fixture.spool.reads == reads
        assert fixture.budget.remaining == fixture.remaining

    virtual_time.run(run())


def test_lanes_share_the_memory_and_one_without_room_is_read_from_the_spool() -> None:
    async def run() -> None:
        budget = MemoryBudget(2 * CHUNK_OVERHEAD + 28)
        first, second = await Fixture(budget).open(), await Fixture(budget).open()
        await first.store(5)
        await second.store(1, 9)  # the second chunk finds no room
        await second.take()
        assert (second.spool.reads, second.taken) == (1, list(range(10)))
        await first.store(5)
        await first.take()
        assert (first.spool.reads, first.taken) == (0, list(range(10)))
        assert budget.remaining == 2 * CHUNK_OVERHEAD + 28

    virtual_time.run(run())


def test_after_a_rewind_everything_is_read_again() -> None:
    async def run() -> None:
        fixture = await Fixture().open()
        await fixture.store(10, 3)
        await fixture.take()
        fixture.batcher.rewind(13)
        assert fixture.budget.remaining == fixture.remaining
        await fixture.take()
        assert fixture.taken == [*range(10), *range(10)]

    virtual_time.run(run())


OPERATIONS = st.lists(
    st.one_of(
        st.lists(st.integers(1, 12), min_size=1, max_size=6).map(lambda counts: ("store", counts)),
        st.just(("take", [])),
        st.just(("settle", [])),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.integers(0, 12).map(lambda chunks: chunks * (CHUNK_OVERHEAD + 10)))
def test_whatever_comes_and_goes_every_event_leaves_once_and_in_order(
    operations: list[tuple[str, list[int]]], remaining: int
) -> None:
    async def run() -> None:
        fixture = await Fixture(MemoryBudget(remaining)).open()
        batches: list[Batch] = []
        for what, counts in operations:
            if what == "store":
                await fixture.store(*counts)
            elif what == "take" and fixture.batcher.events:
                batches.append(await fixture.take())
            elif what == "settle" and batches:
                await fixture.spool.acknowledge(LANE, batches.pop().ids)
        fixture.batcher.drain()
        while fixture.batcher.events:
            await fixture.take()
        assert await fixture.batcher.next() is None
        assert fixture.taken == list(range(fixture.put))
        assert fixture.budget.remaining == remaining

    virtual_time.run(run())
