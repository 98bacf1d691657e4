"""Tests of the `Spool` and `DeadLetterStore` interfaces, run against every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.model import Backlog, ChunkId, Stage, split_events
from gateway.spool import DeadLetterFilter, SpoolFull, SpoolUnavailable, StorageEngine
from tests.spool.builders import (
    ALL,
    LANE,
    MIB,
    OTHER,
    START,
    Clock,
    bulk,
    chunk,
    engine,
    fill,
    letter,
    payloads,
    read_all,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "memory"])
async def spool(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[StorageEngine]:
    spool = engine(request.param, tmp_path, clock, max_bytes=4 * MIB)
    assert await spool.open() == []
    yield spool
    await spool.close()


async def test_chunks_are_read_in_the_order_in_which_they_were_appended(spool: StorageEngine) -> None:
    first = await spool.append([chunk(b"1"), chunk(b"2", lane=OTHER)], [])
    second = await spool.append([chunk(b"3"), chunk(b"4")], [])

    ids = [stored.id for stored in [*first, *second]]
    assert ids == sorted(set(ids))
    assert payloads(await read_all(spool)) == [b"1", b"3", b"4"]
    assert payloads(await read_all(spool, OTHER)) == [b"2"]
    assert [*await read_all(spool), *await read_all(spool, OTHER)] == [first[0], *second, first[1]]


async def test_overlapping_calls_take_effect_and_return_in_the_order_in_which_they_were_made(
    spool: StorageEngine,
) -> None:
    returned: list[int] = []

    async def append(number: int) -> ChunkId:
        (stored,) = await spool.append([chunk(b"%d" % number)], [])
        returned.append(number)
        return stored.id

    ids = await asyncio.gather(*(append(number) for number in range(50)))

    assert returned == list(range(50))
    assert ids == sorted(ids)
    assert payloads(await read_all(spool)) == [b"%d" % number for number in range(50)]


async def test_a_chunk_is_read_back_unchanged(spool: StorageEngine, clock: Clock) -> None:
    clock.now = 1_700_000_123.25
    original = chunk(b'{"a":1}', '{"b":"Zoë"}'.encode(), expires_at=1_700_000_999)
    (stored,) = await spool.append([original], [])

    (read,) = await spool.read(LANE, START, ALL, ALL)
    assert (read.chunk, read.stored_at) == (original, 1_700_000_123.25)
    assert read == stored


async def test_a_read_returns_the_chunks_within_the_limits_and_one_more(spool: StorageEngine) -> None:
    stored = await spool.append([chunk(b"aa", b"bb"), chunk(b"cc"), chunk(b"dd"), chunk(b"ee"), chunk(b"ff")], [])

    async def read(after: int, max_events: int, max_bytes: int) -> list[bytes]:
        return payloads(await spool.read(LANE, ChunkId(after), max_events, max_bytes))

    assert await read(0, 4, ALL) == [b"aa,\nbb", b"cc", b"dd", b"ee"]
    assert await read(0, 3, ALL) == [b"aa,\nbb", b"cc", b"dd"]
    assert await read(0, ALL, 10) == [b"aa,\nbb", b"cc", b"dd"]
    assert await read(0, ALL, 9) == [b"aa,\nbb", b"cc"]
    assert await read(0, 1, 1) == [b"aa,\nbb", b"cc"]
    assert await read(stored[2].id, ALL, ALL) == [b"ee", b"ff"]
    assert await read(stored[4].id, ALL, ALL) == []
    assert await spool.read(OTHER, START, ALL, ALL) == []


async def test_acknowledge_removes_the_chunks_and_stores_the_dead_letters(spool: StorageEngine) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2"), chunk(b"3"), chunk(b"4")], [])
    await spool.acknowledge(LANE, [stored[0].id, stored[2].id], [letter(7)])

    assert payloads(await read_all(spool)) == [b"2", b"4"]
    assert [dead_letter for _, dead_letter in await spool.dead_letters()] == [letter(7)]


async def test_the_rest_of_a_batch_keeps_the_first_id_and_the_oldest_time(spool: StorageEngine, clock: Clock) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2", b"3"), chunk(b"4")], [])
    clock.now += 100
    await spool.acknowledge(LANE, [stored[0].id, stored[1].id], [letter(1)], rest=chunk(b"3"))

    kept, last = await read_all(spool)
    assert (kept.id, kept.chunk, kept.stored_at) == (stored[0].id, chunk(b"3"), stored[0].stored_at)
    assert last == stored[2]
    assert payloads(await spool.read(LANE, stored[1].id, ALL, ALL)) == [b"4"]
    await spool.acknowledge(LANE, [kept.id])
    assert await read_all(spool) == [last]


@pytest.mark.parametrize("ids", [[0], [0, 1], [1, 0], [1, 1], [99], [1, 99]])
async def test_acknowledging_a_missing_chunk_fails_and_changes_nothing(spool: StorageEngine, ids: list[int]) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2"), chunk(b"3")], [])
    await spool.acknowledge(LANE, [stored[0].id])
    before = spool.statistics()

    with pytest.raises(KeyError):
        await spool.acknowledge(LANE, [stored[index].id if index < 3 else ChunkId(index) for index in ids], [letter()])
    with pytest.raises(KeyError):
        await spool.acknowledge(OTHER, [stored[1].id])

    assert payloads(await read_all(spool)) == [b"2", b"3"]
    assert await spool.dead_letters() == []
    assert (spool.statistics().events, spool.statistics().bytes) == (before.events, before.bytes)


async def test_a_rest_of_another_lane_or_without_ids_is_rejected(spool: StorageEngine) -> None:
    (stored,) = await spool.append([chunk(b"1")], [])
    with pytest.raises(ValueError, match="acknowledged lane"):
        await spool.acknowledge(LANE, [stored.id], rest=chunk(b"1", lane=OTHER))
    with pytest.raises(ValueError, match="acknowledged lane"):
        await spool.acknowledge(LANE, [], rest=chunk(b"1"))
    assert payloads(await read_all(spool)) == [b"1"]


async def test_dead_letters_can_be_appended_without_chunks(spool: StorageEngine) -> None:
    unmapped = letter(1, stage=Stage.MAPPING, lane=None, source="shop", fault=None, attempts=0)
    without_event = letter(2, event=None)
    assert await spool.append([], [unmapped, without_event]) == []
    assert [dead_letter for _, dead_letter in await spool.dead_letters()] == [unmapped, without_event]
    assert spool.statistics().dead_letters == 2


async def test_the_statistics_change_with_every_call(spool: StorageEngine) -> None:
    empty = spool.statistics()
    assert (empty.events, empty.bytes, empty.dead_letters, empty.max_bytes) == (0, 0, 0, 4 * MIB)

    stored = await spool.append([bulk(10, 600), bulk(5, 600, OTHER)], [letter()])
    full = spool.statistics()
    assert (full.events, full.bytes, full.dead_letters) == (15, 10 * 600 + 9 * 2 + 5 * 600 + 4 * 2, 1)
    assert full.size >= full.bytes
    assert full.commits == empty.commits + 1

    await spool.acknowledge(LANE, [stored[0].id], [letter()], rest=bulk(2, 600))
    half = spool.statistics()
    assert (half.events, half.bytes, half.dead_letters) == (7, 1202 + 3008, 2)


async def test_a_reopened_spool_has_the_same_contents(spool: StorageEngine, clock: Clock) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2"), chunk(b"3", lane=OTHER)], [letter(1)])
    await spool.acknowledge(LANE, [stored[0].id], [letter(2)])
    clock.now += 1
    await spool.close()

    backlogs = await spool.open()

    assert set(backlogs) == {Backlog(OTHER, 1, 1, stored[2].stored_at), Backlog(LANE, 1, 1, stored[1].stored_at)}
    assert await read_all(spool) == [stored[1]]
    assert [dead_letter for _, dead_letter in await spool.dead_letters()] == [letter(1), letter(2)]
    (later,) = await spool.append([chunk(b"4")], [])
    assert later.id > stored[2].id


async def test_ids_and_numbers_are_not_reused_after_a_restart_with_an_empty_spool(spool: StorageEngine) -> None:
    stored = await spool.append([chunk(b"1", lane=OTHER), chunk(b"2")], [letter()])
    await spool.acknowledge(OTHER, [stored[0].id])
    await spool.acknowledge(LANE, [stored[1].id])
    ((number, _),) = await spool.dead_letters()
    await spool.discard([number])
    await spool.close()

    assert await spool.open() == []
    (later,) = await spool.append([chunk(b"3", lane=OTHER)], [letter()])
    ((next_number, _),) = await spool.dead_letters()
    assert later.id > stored[1].id
    assert next_number > number


async def test_a_full_spool_rejects_appends_and_can_be_drained(spool: StorageEngine) -> None:
    chunks = await fill(spool)
    with pytest.raises(SpoolFull, match=r"max_bytes"):
        await spool.append([bulk(100, 600)], [])
    assert spool.statistics().size <= 4 * MIB
    assert len(chunks) * 60_000 > 3 * MIB
    before = payloads(await read_all(spool))
    with pytest.raises(SpoolFull):
        await spool.append([chunk(b"1", lane=OTHER), bulk(100, 600)], [letter()])
    assert payloads(await read_all(spool)) == before
    assert await read_all(spool, OTHER) == []

    for index, stored in enumerate(chunks):
        rejected = [letter(index, event=body) for body in split_events(stored.chunk.payload)[:10]]
        await spool.acknowledge(LANE, [stored.id], rejected, rest=bulk(50, 600))
    for stored in chunks:
        await spool.acknowledge(LANE, [stored.id])
    assert spool.statistics().events == 0
    assert spool.statistics().dead_letters == len(chunks) * 10


async def test_freed_space_can_be_used_again(spool: StorageEngine) -> None:
    chunks = await fill(spool)
    for _ in range(3):
        await spool.acknowledge(LANE, [stored.id for stored in chunks[:10]])
        chunks = chunks[10:] + [(await spool.append([bulk(100, 600)], []))[0] for _ in range(10)]


async def test_acknowledgements_of_a_full_spool_delete_the_oldest_dead_letters(spool: StorageEngine) -> None:
    large = letter(event=b'{"n":"' + b"x" * 60_000 + b'"}')
    stored = await spool.append([chunk(b"%d" % number) for number in range(200)], [])
    for item in stored:
        await spool.acknowledge(LANE, [item.id], [large])

    remaining = await spool.dead_letters(limit=1000)
    assert 60 < len(remaining) < 90
    assert [number for number, _ in remaining] == list(range(201 - len(remaining), 201))
    statistics = spool.statistics()
    assert (statistics.dead_letters, statistics.purged) == (len(remaining), 200 - len(remaining))


async def test_a_closed_spool_rejects_every_call(spool: StorageEngine) -> None:
    (stored,) = await spool.append([chunk(b"1")], [])
    await spool.close()
    await spool.close()

    with pytest.raises(SpoolUnavailable):
        await spool.append([chunk()], [])
    with pytest.raises(SpoolUnavailable):
        await spool.read(LANE, START, 1, 1)
    with pytest.raises(SpoolUnavailable):
        await spool.acknowledge(LANE, [stored.id])
    with pytest.raises(SpoolUnavailable):
        await spool.dead_letters()
    assert spool.statistics().events == 1


async def test_calls_made_before_close_are_completed(spool: StorageEngine) -> None:
    appends = [asyncio.create_task(spool.append([chunk(b"%d" % number)], [])) for number in range(20)]
    await asyncio.sleep(0)
    await spool.close()
    await asyncio.gather(*appends)
    await spool.open()
    assert len(await read_all(spool)) == 20


async def test_dead_letters_are_filtered_by_their_fields(spool: StorageEngine) -> None:
    letters = [
        letter(0, code="unmapped_event", stage=Stage.MAPPING, at=10.0),
        letter(1, code="event_refused", at=20.0),
        letter(2, code="event_refused", destination="other", at=30.0),
        letter(3, code="too_old", stage=Stage.EXPIRED, at=40.0),
    ]
    await spool.append([], letters)

    all_pairs = await spool.dead_letters()

    async def matching(**fields: object) -> list[int]:
        where = DeadLetterFilter(**fields)  # type: ignore[arg-type]
        pairs = await spool.dead_letters(where=where)
        assert await spool.count_dead_letters(where) == len(pairs)
        assert [(number, await spool.dead_letter(number)) for number, _ in pairs] == list(pairs)
        return [all_pairs.index(pair) for pair in pairs]

    assert await matching() == [0, 1, 2, 3]
    assert await matching(code="event_refused") == [1, 2]
    assert await matching(destination="other") == [2]
    assert await matching(stage=Stage.EXPIRED) == [3]
    assert await matching(since=20.0, until=40.0) == [1, 2]
    assert await matching(code="event_refused", destination="store", stage=Stage.UPLOAD, since=0.0, until=99.0) == [1]
    assert await matching(event_set=LANE.event_set) == [0, 1, 2, 3]
    assert await matching(event_set="elsewhere") == []
    assert await matching(code="none") == []


async def test_dead_letters_are_found_by_their_ids_with_every_store_engine(spool: StorageEngine) -> None:
    letters = [letter(1), letter(2), letter(3, order_id="order 1 \u00e9"), letter(4, message_id=None, order_id=None)]
    await spool.append([], letters)
    assert [found for _, found in await spool.dead_letters()] == letters

    async def numbers(where: DeadLetterFilter) -> list[int]:
        return [number for number, _ in await spool.dead_letters(where=where)]

    assert await numbers(DeadLetterFilter(message_id="m2")) == [2]
    assert await numbers(DeadLetterFilter(order_id="order 1 \u00e9")) == [1, 3]
    assert await numbers(DeadLetterFilter(message_id="m3", order_id="order 1 \u00e9")) == [3]
    assert await numbers(DeadLetterFilter(message_id="m")) == []
    assert await spool.count_dead_letters(DeadLetterFilter(order_id="order 1 \u00e9")) == 2


async def test_dead_letters_are_counted_by_code(spool: StorageEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.spool.sqlite.store.SCAN_ROWS", 2)
    assert dict(await spool.count_codes()) == {}
    await spool.append([], [letter(n, code="expired" if n % 3 else "event_refused") for n in range(7)])
    assert dict(await spool.count_codes()) == {"expired": 4, "event_refused": 3}


async def test_dead_letters_are_paged_by_number(spool: StorageEngine) -> None:
    await spool.append([], [letter(number) for number in range(10)])
    first = await spool.dead_letters(limit=4)
    second = await spool.dead_letters(after=first[-1][0], limit=4)
    third = await spool.dead_letters(after=second[-1][0], limit=4)
    assert [dead_letter for _, dead_letter in [*first, *second, *third]] == [letter(number) for number in range(10)]
    assert await spool.dead_letters(limit=0) == []


async def test_discarded_dead_letters_are_deleted_and_the_others_keep_their_numbers(spool: StorageEngine) -> None:
    await spool.append([], [letter(number) for number in range(4)])
    before = await spool.dead_letters()
    numbers = [number for number, _ in before]

    assert await spool.discard([numbers[1], numbers[2], 999]) == 2
    assert await spool.discard([numbers[1]]) == 0

    assert await spool.dead_letters() == [before[0], before[3]]
    assert spool.statistics().dead_letters == 2
    with pytest.raises(KeyError):
        await spool.dead_letter(numbers[1])


async def test_replay_replaces_dead_letters_by_chunks_in_one_transaction(spool: StorageEngine) -> None:
    await spool.append([], [letter(number) for number in range(3)])
    numbers = [number for number, _ in await spool.dead_letters()]

    (stored,) = await spool.replay(numbers[:2], [chunk(b"0", b"1")], [letter(9)])

    assert await read_all(spool) == [stored]
    assert [dead_letter for _, dead_letter in await spool.dead_letters()] == [letter(2), letter(9)]
    with pytest.raises(KeyError):
        await spool.replay([numbers[2], numbers[0]], [chunk(b"2", b"0")])
    assert await read_all(spool) == [stored]
    assert [dead_letter for _, dead_letter in await spool.dead_letters()] == [letter(2), letter(9)]
    assert spool.statistics().dead_letters == 2


async def test_dead_letters_are_purged_by_age(spool: StorageEngine) -> None:
    await spool.append([], [letter(number, at=float(number)) for number in range(1200)])
    assert await spool.purge(since=1150.0, max_bytes=ALL) == 1150
    assert [dead_letter.at for _, dead_letter in await spool.dead_letters()] == [
        float(number) for number in range(1150, 1200)
    ]
    assert await spool.purge(since=0.0, max_bytes=ALL) == 0


async def test_dead_letters_are_purged_by_size(spool: StorageEngine) -> None:
    await spool.append([], [letter(number, event=b'"' + b"x" * 1000 + b'"') for number in range(100)])
    purged = await spool.purge(since=0.0, max_bytes=50_000)
    remaining = await spool.dead_letters(limit=1000)
    assert len(remaining) == 100 - purged
    assert 35 <= len(remaining) <= 50
    assert remaining[-1][0] == 100
    assert await spool.purge(since=0.0, max_bytes=0) == len(remaining)
    assert spool.statistics().dead_letters == 0
