"""What every engine promises, held against each of them."""

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
    everything,
    fill,
    letter,
    payloads,
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
    assert payloads(await everything(spool)) == [b"1", b"3", b"4"]
    assert payloads(await everything(spool, OTHER)) == [b"2"]
    assert [*await everything(spool), *await everything(spool, OTHER)] == [first[0], *second, first[1]]


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
    assert payloads(await everything(spool)) == [b"%d" % number for number in range(50)]


async def test_a_chunk_keeps_all_that_was_said_of_it(spool: StorageEngine, clock: Clock) -> None:
    clock.now = 1_700_000_123.25
    given = chunk(b'{"a":1}', '{"b":"Zoë"}'.encode(), expires_at=1_700_000_999)
    (stored,) = await spool.append([given], [])

    (read,) = await spool.read(LANE, START, ALL, ALL)
    assert (read.chunk, read.stored_at) == (given, 1_700_000_123.25)
    assert read == stored


async def test_reading_stops_at_the_limits_and_shows_one_more(spool: StorageEngine) -> None:
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


async def test_settling_removes_the_chunks_and_keeps_the_letters(spool: StorageEngine) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2"), chunk(b"3"), chunk(b"4")], [])
    await spool.acknowledge(LANE, [stored[0].id, stored[2].id], [letter(7)])

    assert payloads(await everything(spool)) == [b"2", b"4"]
    assert [found for _, found in await spool.dead_letters()] == [letter(7)]


async def test_the_rest_of_a_batch_stays_under_its_first_id_and_age(spool: StorageEngine, clock: Clock) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2", b"3"), chunk(b"4")], [])
    clock.now += 100
    await spool.acknowledge(LANE, [stored[0].id, stored[1].id], [letter(1)], rest=chunk(b"3"))

    kept, last = await everything(spool)
    assert (kept.id, kept.chunk, kept.stored_at) == (stored[0].id, chunk(b"3"), stored[0].stored_at)
    assert last == stored[2]
    assert payloads(await spool.read(LANE, stored[1].id, ALL, ALL)) == [b"4"]
    await spool.acknowledge(LANE, [kept.id])
    assert await everything(spool) == [last]


@pytest.mark.parametrize("ids", [[0], [0, 1], [1, 0], [1, 1], [99], [1, 99]])
async def test_settling_what_is_not_there_is_an_error_and_changes_nothing(spool: StorageEngine, ids: list[int]) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2"), chunk(b"3")], [])
    await spool.acknowledge(LANE, [stored[0].id])
    before = spool.statistics()

    with pytest.raises(KeyError):
        await spool.acknowledge(LANE, [stored[index].id if index < 3 else ChunkId(index) for index in ids], [letter()])
    with pytest.raises(KeyError):
        await spool.acknowledge(OTHER, [stored[1].id])

    assert payloads(await everything(spool)) == [b"2", b"3"]
    assert await spool.dead_letters() == []
    assert (spool.statistics().events, spool.statistics().bytes) == (before.events, before.bytes)


async def test_a_rest_of_another_lane_or_of_nothing_is_a_mistake(spool: StorageEngine) -> None:
    (stored,) = await spool.append([chunk(b"1")], [])
    with pytest.raises(ValueError, match="its lane"):
        await spool.acknowledge(LANE, [stored.id], rest=chunk(b"1", lane=OTHER))
    with pytest.raises(ValueError, match="its lane"):
        await spool.acknowledge(LANE, [], rest=chunk(b"1"))
    assert payloads(await everything(spool)) == [b"1"]


async def test_letters_alone_can_be_kept(spool: StorageEngine) -> None:
    mapping = letter(1, stage=Stage.MAPPING, lane=None, source="shop", fault=None, attempts=0)
    nothing = letter(2, event=None)
    assert await spool.append([], [mapping, nothing]) == []
    assert [found for _, found in await spool.dead_letters()] == [mapping, nothing]
    assert spool.statistics().dead_letters == 2


async def test_the_statistics_follow_every_change(spool: StorageEngine) -> None:
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


async def test_after_a_stop_everything_goes_on_where_it_was(spool: StorageEngine, clock: Clock) -> None:
    stored = await spool.append([chunk(b"1"), chunk(b"2"), chunk(b"3", lane=OTHER)], [letter(1)])
    await spool.acknowledge(LANE, [stored[0].id], [letter(2)])
    clock.now += 1
    await spool.close()

    backlogs = await spool.open()

    assert set(backlogs) == {Backlog(OTHER, 1, 1, stored[2].stored_at), Backlog(LANE, 1, 1, stored[1].stored_at)}
    assert await everything(spool) == [stored[1]]
    assert [found for _, found in await spool.dead_letters()] == [letter(1), letter(2)]
    (later,) = await spool.append([chunk(b"4")], [])
    assert later.id > stored[2].id


async def test_ids_and_numbers_grow_although_everything_left_before_a_stop(spool: StorageEngine) -> None:
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


async def test_a_full_spool_takes_nothing_and_empties(spool: StorageEngine) -> None:
    taken = await fill(spool)
    with pytest.raises(SpoolFull, match=r"max_bytes"):
        await spool.append([bulk(100, 600)], [])
    assert spool.statistics().size <= 4 * MIB
    assert len(taken) * 60_000 > 3 * MIB
    before = payloads(await everything(spool))
    with pytest.raises(SpoolFull):
        await spool.append([chunk(b"1", lane=OTHER), bulk(100, 600)], [letter()])
    assert payloads(await everything(spool)) == before
    assert await everything(spool, OTHER) == []

    for index, stored in enumerate(taken):
        refused = [letter(index, event=body) for body in split_events(stored.chunk.payload)[:10]]
        await spool.acknowledge(LANE, [stored.id], refused, rest=bulk(50, 600))
    for stored in taken:
        await spool.acknowledge(LANE, [stored.id])
    assert spool.statistics().events == 0
    assert spool.statistics().dead_letters == len(taken) * 10


async def test_room_that_is_given_back_is_taken_again(spool: StorageEngine) -> None:
    taken = await fill(spool)
    for _ in range(3):
        await spool.acknowledge(LANE, [stored.id for stored in taken[:10]])
        again = [(await spool.append([bulk(100, 600)], []))[0] for _ in range(10)]
        taken = taken[10:] + again


async def test_a_spool_full_of_dead_letters_lets_the_oldest_go_and_says_so(
    spool: StorageEngine, caplog: pytest.LogCaptureFixture
) -> None:
    large = letter(event=b'{"n":"' + b"x" * 60_000 + b'"}')
    stored = await spool.append([chunk(b"%d" % number) for number in range(200)], [])
    for one in stored:
        await spool.acknowledge(LANE, [one.id], [large])

    found = await spool.dead_letters(limit=1000)
    assert 60 < len(found) < 90
    assert [number for number, _ in found] == list(range(201 - len(found), 201))
    assert "were let go" in caplog.text
    assert spool.statistics().dead_letters == len(found)
    with pytest.raises(SpoolFull):
        await spool.append([chunk(b"1")], [])


async def test_a_closed_spool_refuses_every_call(spool: StorageEngine) -> None:
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


async def test_what_was_begun_before_a_close_is_finished(spool: StorageEngine) -> None:
    begun = [asyncio.create_task(spool.append([chunk(b"%d" % number)], [])) for number in range(20)]
    await asyncio.sleep(0)
    await spool.close()
    await asyncio.gather(*begun)
    await spool.open()
    assert len(await everything(spool)) == 20


async def test_letters_are_found_by_what_is_said_of_them(spool: StorageEngine) -> None:
    letters = [
        letter(0, code="unmapped_event", stage=Stage.MAPPING, at=10.0),
        letter(1, code="event_refused", at=20.0),
        letter(2, code="event_refused", destination="other", at=30.0),
        letter(3, code="too_old", stage=Stage.EXPIRED, at=40.0),
    ]
    await spool.append([], letters)

    kept = await spool.dead_letters()

    async def found(**fields: object) -> list[int]:
        where = DeadLetterFilter(**fields)  # type: ignore[arg-type]
        pairs = await spool.dead_letters(where=where)
        assert await spool.count_dead_letters(where) == len(pairs)
        assert [(number, await spool.dead_letter(number)) for number, _ in pairs] == list(pairs)
        return [kept.index(pair) for pair in pairs]

    assert await found() == [0, 1, 2, 3]
    assert await found(code="event_refused") == [1, 2]
    assert await found(destination="other") == [2]
    assert await found(stage=Stage.EXPIRED) == [3]
    assert await found(since=20.0, until=40.0) == [1, 2]
    assert await found(code="event_refused", destination="store", stage=Stage.UPLOAD, since=0.0, until=99.0) == [1]
    assert await found(event_set=LANE.event_set) == [0, 1, 2, 3]
    assert await found(event_set="elsewhere") == []
    assert await found(code="none") == []


async def test_letters_are_paged_by_number(spool: StorageEngine) -> None:
    await spool.append([], [letter(number) for number in range(10)])
    first = await spool.dead_letters(limit=4)
    second = await spool.dead_letters(after=first[-1][0], limit=4)
    third = await spool.dead_letters(after=second[-1][0], limit=4)
    assert [one for _, one in [*first, *second, *third]] == [letter(number) for number in range(10)]
    assert await spool.dead_letters(limit=0) == []


async def test_discarded_letters_are_gone_and_the_others_keep_their_numbers(spool: StorageEngine) -> None:
    await spool.append([], [letter(number) for number in range(4)])
    before = await spool.dead_letters()
    numbers = [number for number, _ in before]

    assert await spool.discard([numbers[1], numbers[2], 999]) == 2
    assert await spool.discard([numbers[1]]) == 0

    assert await spool.dead_letters() == [before[0], before[3]]
    assert spool.statistics().dead_letters == 2
    with pytest.raises(KeyError):
        await spool.dead_letter(numbers[1])


async def test_a_replayed_letter_is_a_chunk_and_no_letter_at_once(spool: StorageEngine) -> None:
    await spool.append([], [letter(number) for number in range(3)])
    numbers = [number for number, _ in await spool.dead_letters()]

    (stored,) = await spool.replay(numbers[:2], [chunk(b"0", b"1")], [letter(9)])

    assert await everything(spool) == [stored]
    assert [one for _, one in await spool.dead_letters()] == [letter(2), letter(9)]
    with pytest.raises(KeyError):
        await spool.replay([numbers[2], numbers[0]], [chunk(b"2", b"0")])
    assert await everything(spool) == [stored]
    assert [one for _, one in await spool.dead_letters()] == [letter(2), letter(9)]
    assert spool.statistics().dead_letters == 2


async def test_letters_are_let_go_by_age(spool: StorageEngine) -> None:
    await spool.append([], [letter(number, at=float(number)) for number in range(1200)])
    assert await spool.purge(since=1150.0, max_bytes=ALL) == 1150
    assert [one.at for _, one in await spool.dead_letters()] == [float(number) for number in range(1150, 1200)]
    assert await spool.purge(since=0.0, max_bytes=ALL) == 0


async def test_letters_are_let_go_by_size(spool: StorageEngine) -> None:
    await spool.append([], [letter(number, event=b'"' + b"x" * 1000 + b'"') for number in range(100)])
    gone = await spool.purge(since=0.0, max_bytes=50_000)
    left = await spool.dead_letters(limit=1000)
    assert len(left) == 100 - gone
    assert 35 <= len(left) <= 50
    assert left[-1][0] == 100
    assert await spool.purge(since=0.0, max_bytes=0) == len(left)
    assert spool.statistics().dead_letters == 0
