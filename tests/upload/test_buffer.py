"""A lane's buffer: what is at hand, what is read from the spool; nothing is left out, doubled or out of turn."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.buffer import FLOWING, Buffer
from gateway.model import Batch, BatchLimits, Chunk, ChunkId, Lane, StoredChunk
from gateway.recent import OVERHEAD, Memory
from gateway.spool.memory import MemorySpool
from tests.upload import virtual

LANE = Lane("store", "1", "tag")
LIMITS = BatchLimits(max_events=10, max_bytes=10_000, max_age=5.0)


class CountingSpool(MemorySpool):
    """Counts what is read from it."""

    def __init__(self) -> None:
        super().__init__(max_bytes=2**30, wall=lambda: 0.0)
        self.reads = 0

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        self.reads += 1
        return await super().read(lane, after, max_events, max_bytes)


class House:
    """A buffer over a spool, and the numbers of the events that went in and came out."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self.room = self.memory.left
        self.spool = CountingSpool()
        self.buffer = Buffer(LANE, LIMITS, self.spool, lambda: 0.0, self.memory)
        self.put = 0
        self.taken: list[int] = []

    async def open(self) -> House:
        await self.spool.open()
        return self

    async def store(self, *counts: int) -> None:
        """Chunks of so many events become durable in one commit."""
        chunks = []
        for count in counts:
            bodies = [b"%d" % number for number in range(self.put, self.put + count)]
            chunks.append(Chunk(LANE, count, 2**40, b"\n".join(bodies)))
            self.put += count
        for stored in await self.spool.append(chunks, []):
            self.buffer.stored(stored)

    async def take(self) -> Batch:
        batch = await self.buffer.next()
        assert batch is not None
        self.taken += [int(body) for body in batch.payload().split(b"\n")]
        return batch


def test_a_lane_that_flows_is_never_read_from_the_spool() -> None:
    async def run() -> None:
        house = await House().open()
        for _ in range(50):
            await house.store(3, 7)
            assert (await house.take()).count == 10
        assert house.taken == list(range(500))
        assert house.spool.reads == 0
        assert house.memory.left == house.room

    virtual.run(run())


def test_a_backlog_is_read_from_the_spool_and_held_nowhere_else() -> None:
    async def run() -> None:
        house = await House().open()
        for _ in range(FLOWING * 10 + 1):
            await house.store(1)
        assert house.memory.left == house.room
        while house.buffer.events >= LIMITS.max_events:
            await house.take()
        assert house.spool.reads == FLOWING
        assert house.taken == list(range(FLOWING * 10))

    virtual.run(run())


def test_what_flows_again_behind_a_backlog_comes_after_it() -> None:
    async def run() -> None:
        house = await House().open()
        await house.store(*[1] * (FLOWING * 10 + 5))
        await house.take()
        await house.store(4)  # at hand, while older ones are in the spool alone
        assert house.memory.left < house.room
        await house.take()
        await house.store(1)
        await house.take()
        assert house.taken == list(range(30))
        reads = house.spool.reads
        await house.store(10)
        await house.take()
        assert house.spool.reads == reads
        assert house.memory.left == house.room

    virtual.run(run())


def test_lanes_share_the_memory_and_one_without_room_is_read_from_the_spool() -> None:
    async def run() -> None:
        memory = Memory(2 * OVERHEAD + 20)
        first, second = await House(memory).open(), await House(memory).open()
        await first.store(5)
        await second.store(1, 9)  # the second chunk finds no room
        await second.take()
        assert (second.spool.reads, second.taken) == (1, list(range(10)))
        await first.store(5)
        await first.take()
        assert (first.spool.reads, first.taken) == (0, list(range(10)))
        assert memory.left == 2 * OVERHEAD + 20

    virtual.run(run())


def test_after_a_rewind_everything_is_read_again() -> None:
    async def run() -> None:
        house = await House().open()
        await house.store(10, 3)
        await house.take()
        house.buffer.rewind(13)
        assert house.memory.left == house.room
        await house.take()
        assert house.taken == [*range(10), *range(10)]

    virtual.run(run())


OPERATIONS = st.lists(
    st.one_of(
        st.lists(st.integers(1, 12), min_size=1, max_size=6).map(lambda counts: ("store", counts)),
        st.just(("take", [])),
        st.just(("settle", [])),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.integers(0, 12).map(lambda chunks: chunks * (OVERHEAD + 10)))
def test_whatever_comes_and_goes_every_event_leaves_once_and_in_order(
    operations: list[tuple[str, list[int]]], room: int
) -> None:
    async def run() -> None:
        house = await House(Memory(room)).open()
        batches: list[Batch] = []
        for what, counts in operations:
            if what == "store":
                await house.store(*counts)
            elif what == "take" and house.buffer.events:
                batches.append(await house.take())
            elif what == "settle" and batches:
                await house.spool.settle(LANE, batches.pop().ids)
        house.buffer.drain()
        while house.buffer.events:
            await house.take()
        assert await house.buffer.next() is None
        assert house.taken == list(range(house.put))
        assert house.memory.left == room

    virtual.run(run())
