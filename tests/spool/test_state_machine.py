"""State machine test: random calls, restarts and crashes, compared to a model in dictionaries, for each engine."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.model import Chunk, ChunkId, DeadLetter, Lane, StoredChunk, join_events
from gateway.spool import SpoolFull
from gateway.spool.size_accounting import size_of
from tests.spool.builders import ALL, LANE, MIB, OTHER, Clock, chunk, copy_files, engine, letter

T = TypeVar("T")

LANES = st.sampled_from([LANE, OTHER, Lane("legacy", "1", 'a tag / with special characters "')])
BODIES = st.binary(min_size=1, max_size=40).map(lambda body: body.replace(b"\n", b" ") or b"1") | st.integers(
    100, 70_000
).map(lambda size: b"x" * size)
CHUNKS = st.builds(
    lambda lane, bodies, expires_at: chunk(*bodies, lane=lane, expires_at=expires_at),
    LANES,
    st.lists(BODIES, min_size=1, max_size=4),
    st.integers(0, 2**33),
)
LETTERS = st.lists(
    st.builds(
        lambda number, at, size: letter(number, at=float(at), event=None if size is None else b"x" * size),
        st.integers(0, 99),
        st.integers(0, 9),
        st.none() | st.integers(1, 900),
    ),
    max_size=3,
)
LETTER_BYTES = 4000


class SpoolMachine(RuleBasedStateMachine):
    """A spool, and a model of the contents that it must have."""

    engine: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "0"
        self.folder.mkdir()
        self.crashes = 0
        self.clock = Clock()
        self.waiting: dict[ChunkId, tuple[Chunk, float]] = {}
        self.letters: dict[int, DeadLetter] = {}
        self.last_id = 0
        self.last_letter = 0
        self.purged = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        self.spool = engine(self.engine, self.folder, self.clock, max_bytes=2 * MIB, letter_bytes=LETTER_BYTES)
        assert self.do(self.spool.open()) == []

    @rule(chunks=st.lists(CHUNKS, max_size=5), letters=LETTERS)
    def append(self, chunks: list[Chunk], letters: list[DeadLetter]) -> None:
        self.clock.now += 0.5
        try:
            stored = self.do(self.spool.append(chunks, letters))
        except SpoolFull:
            assert self.spool.statistics().size > MIB
            self.check_letters([])  # some may have been deleted to make space
            return
        assert [item.chunk for item in stored] == chunks
        self.add_chunks(stored)
        self.check_letters(letters)
        if letters:
            assert size_of([], list(self.letters.values())) <= LETTER_BYTES

    def add_chunks(self, stored: Sequence[StoredChunk]) -> None:
        for item in stored:
            assert item.id > self.last_id
            self.last_id = item.id
            self.waiting[item.id] = (item.chunk, item.stored_at)

    def check_letters(self, new: list[DeadLetter]) -> None:
        """Check which dead letters are stored after a call that stores new ones, and that the others are counted."""
        stored = dict(self.do(self.spool.dead_letters(limit=10_000)))
        old = {number: each for number, each in stored.items() if number in self.letters}
        added = [each for number, each in stored.items() if number not in self.letters]
        assert old == {number: self.letters[number] for number in old}
        remaining = iter(new)
        assert all(each in remaining for each in added), "they are stored in their order"
        assert [number for number in stored if number not in self.letters] == [
            self.last_letter + index for index in range(1, len(added) + 1)
        ]
        deleted = self.letters.keys() - old.keys()
        with_event = [number for number, each in sorted(self.letters.items()) if each.event is not None]
        deleted_with_event = [number for number in with_event if number in deleted]
        assert deleted_with_event == with_event[: len(deleted_with_event)], "the oldest are deleted first"
        assert not deleted_with_event or all(each.event is not None for each in old.values())
        self.purged += len(deleted) + len(new) - len(added)
        assert self.spool.statistics().purged == self.purged
        self.letters = stored
        self.last_letter += len(added)

    def ids(self, lane: Lane) -> list[ChunkId]:
        return sorted(number for number, (waiting, _) in self.waiting.items() if waiting.lane == lane)

    @rule(lane=LANES, after=st.integers(0, 30), max_events=st.integers(1, 8), max_bytes=st.integers(1, 90_000))
    def read(self, lane: Lane, after: int, max_events: int, max_bytes: int) -> None:
        ids = [number for number in self.ids(lane) if number > after]
        fitting = 0
        while fitting < len(ids):
            group = [self.waiting[number][0] for number in ids[: fitting + 1]]
            joined = join_events(waiting.payload for waiting in group)
            if fitting and (sum(waiting.count for waiting in group) > max_events or len(joined) > max_bytes):
                break
            fitting += 1
        stored = self.do(self.spool.read(lane, ChunkId(after), max_events, max_bytes))
        assert [(item.id, item.chunk, item.stored_at) for item in stored] == [
            (number, *self.waiting[number]) for number in ids[: fitting + 1]
        ]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), letters=LETTERS, keep_rest=st.booleans())
    def acknowledge(self, data: st.DataObject, letters: list[DeadLetter], keep_rest: bool) -> None:
        lane = self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))][0].lane
        ids = self.ids(lane)
        chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
        rest = chunk(b"rest", lane=lane) if keep_rest else None
        self.do(self.spool.acknowledge(lane, chosen, letters, rest))
        oldest = min(self.waiting[number][1] for number in chosen)
        for number in chosen:
            del self.waiting[number]
        if rest:
            self.waiting[chosen[0]] = (rest, oldest)
        self.check_letters(letters)

    @rule(lane=LANES, letters=LETTERS, number=st.integers(1, 40))
    def acknowledge_a_missing_chunk(self, lane: Lane, letters: list[DeadLetter], number: int) -> None:
        ids = self.ids(lane)
        if number in ids:
            return
        with pytest.raises(KeyError):
            self.do(self.spool.acknowledge(lane, [*ids[:1], ChunkId(number)], letters))

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), replay=st.booleans(), chunks=st.lists(CHUNKS, min_size=1, max_size=2))
    def replay_or_discard(self, data: st.DataObject, replay: bool, chunks: list[Chunk]) -> None:
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.letters)), min_size=1, unique=True))
        if replay:
            try:
                self.add_chunks(self.do(self.spool.replay(chosen, chunks)))
            except SpoolFull:
                return
        else:
            assert self.do(self.spool.discard([*chosen, self.last_letter + 1])) == len(chosen)
        for number in chosen:
            del self.letters[number]

    @rule(since=st.integers(0, 9))
    def purge(self, since: int) -> None:
        deleted = 0
        for number in sorted(self.letters):
            if self.letters[number].at >= since:
                break
            del self.letters[number]
            deleted += 1
        self.purged += deleted
        assert self.do(self.spool.purge(float(since), ALL)) == deleted

    @rule()
    def restart(self) -> None:
        self.do(self.spool.close())
        self.reopen()

    @precondition(lambda self: self.engine == "sqlite")
    @rule()
    def crash(self) -> None:
        self.crashes += 1
        self.folder = copy_files(self.folder, self.root / str(self.crashes))
        self.do(self.spool.close())
        self.purged = 0
        self.spool = engine(self.engine, self.folder, self.clock, max_bytes=2 * MIB, letter_bytes=LETTER_BYTES)
        self.reopen()

    def reopen(self) -> None:
        backlogs = {backlog.lane: backlog for backlog in self.do(self.spool.open())}
        assert set(backlogs) == {waiting.lane for waiting, _ in self.waiting.values()}
        for lane, backlog in backlogs.items():
            expected = [self.waiting[number] for number in self.ids(lane)]
            assert backlog.events == sum(waiting.count for waiting, _ in expected)
            assert backlog.bytes == sum(len(waiting.payload) for waiting, _ in expected)
            assert backlog.oldest_stored_at == expected[0][1]

    @invariant()
    def statistics_match_the_model(self) -> None:
        if not hasattr(self, "spool"):
            return
        statistics = self.spool.statistics()
        assert statistics.events == sum(waiting.count for waiting, _ in self.waiting.values())
        assert statistics.bytes == sum(len(waiting.payload) for waiting, _ in self.waiting.values())
        assert statistics.dead_letters == len(self.letters)

    def teardown(self) -> None:
        assert dict(self.do(self.spool.dead_letters(limit=10_000))) == self.letters
        self.do(self.spool.close())
        self.runner.close()
        shutil.rmtree(self.root)


class SqliteMachine(SpoolMachine):
    engine = "sqlite"


class MemoryMachine(SpoolMachine):
    engine = "memory"


SETTINGS = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = SETTINGS
TestMemory = MemoryMachine.TestCase
TestMemory.settings = SETTINGS
