"""Limits of the dead letters, for each engine: they take a share of the spool, and events never wait for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import SpoolSettings
from gateway.model import DeadLetter
from gateway.spool import SpoolFull, StorageEngine, dead_letter_limit
from gateway.spool.size_accounting import dead_letter_size, newest_letters, size_of
from gateway.spool.sqlite import bulk_sql, transaction
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.storage_limits import StorageLimits
from tests.spool.builders import (
    LANE,
    MIB,
    NAME,
    OTHER,
    Clock,
    bulk,
    chunk,
    engine,
    fill,
    letter,
    payloads,
    read_all,
    sqlite,
)

LIMIT = MIB


@pytest.fixture(params=["sqlite", "memory"])
async def spool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageEngine]:
    spool = engine(request.param, tmp_path, Clock(), max_bytes=4 * MIB, letter_bytes=LIMIT)
    await spool.open()
    yield spool
    await spool.close()


def letters(first: int, count: int, size: int = 1000) -> list[DeadLetter]:
    """Dead letters with numbered events."""
    return [letter(event=b'{"n":%d,"x":"%s"}' % (number, b"x" * size)) for number in range(first, first + count)]


def without_event(first: int, count: int) -> list[DeadLetter]:
    return [letter(event=None, message=f"event {number} is no object") for number in range(first, first + count)]


async def stored_letters(spool: StorageEngine) -> list[DeadLetter]:
    return [dead_letter for _, dead_letter in await spool.dead_letters(limit=100_000)]


async def test_new_dead_letters_replace_the_oldest_beyond_their_limit(spool: StorageEngine) -> None:
    everything = letters(0, 3000)
    for start in range(0, 3000, 100):
        await spool.append([], everything[start : start + 100])

    kept = await stored_letters(spool)
    assert kept == everything[-len(kept) :]
    assert 0.9 * LIMIT < size_of([], kept) <= LIMIT
    statistics = spool.statistics()
    assert statistics.dead_letter_bytes == size_of([], kept)
    assert statistics.purged == 3000 - len(kept)


async def test_good_events_are_stored_however_many_are_rejected(spool: StorageEngine) -> None:
    for number in range(150):
        (stored,) = await spool.append([bulk(10, 600)], letters(100 * number, 100))
        await spool.acknowledge(LANE, [stored.id])
    assert spool.statistics().dead_letter_bytes <= LIMIT


async def test_a_spool_that_dead_letters_filled_stores_events(spool: StorageEngine) -> None:
    """Such as after `dead_letter_share` was lowered, or when refused events became dead letters while it was full."""
    chunks = await fill(spool)
    for stored in chunks:
        await spool.acknowledge(LANE, [stored.id], letters(0, 50))
    assert await fill(spool) != []
    assert len(await read_all(spool)) > 50
    with pytest.raises(SpoolFull):
        await spool.append([bulk(100, 600)], [])


async def test_dead_letters_without_an_event_are_deleted_before_older_ones_with_an_event(spool: StorageEngine) -> None:
    genuine = letters(0, 600)
    await spool.append([], [*genuine[:300], *without_event(0, 500), *genuine[300:]])
    more = letters(600, 400)
    for start in range(0, 400, 50):
        await spool.append([], more[start : start + 50])

    kept = await stored_letters(spool)
    with_event = [dead_letter for dead_letter in kept if dead_letter.event is not None]
    assert len(kept) == len(with_event)
    assert with_event == [*genuine, *more][-len(with_event) :]
    assert spool.statistics().dead_letter_bytes > 0.9 * LIMIT


async def test_dead_letters_without_an_event_never_replace_one_with_an_event(spool: StorageEngine) -> None:
    genuine = letters(0, 1)
    while size_of([], genuine) < LIMIT - 2000:
        genuine += letters(len(genuine), 1)
    await spool.append([], genuine)
    for number in range(20):
        await spool.append([chunk(b"good")], without_event(number * 1000, 1000))

    kept = await stored_letters(spool)
    assert [dead_letter for dead_letter in kept if dead_letter.event is not None] == genuine
    assert 1 <= len(kept) - len(genuine) <= 20
    assert kept[-1].message == "event 19999 is no object", "the newest of the others are in the rest of the space"
    assert spool.statistics().purged == 20_000 - (len(kept) - len(genuine))
    assert spool.statistics().events == 20


async def test_the_newest_dead_letters_of_a_request_are_kept_when_it_has_too_many(spool: StorageEngine) -> None:
    rejected = letters(0, 3000)
    (stored,) = await spool.append([chunk(b"good")], rejected)
    kept = await stored_letters(spool)
    assert kept == rejected[-len(kept) :]
    assert 0.9 * LIMIT < size_of([], kept) <= LIMIT
    assert await read_all(spool) == [stored]
    assert spool.statistics().purged == 3000 - len(kept)


async def test_events_are_stored_without_their_dead_letters_when_only_they_fit(spool: StorageEngine) -> None:
    await fill(spool)
    while True:
        try:
            await spool.append([bulk(1, 600)], [])
        except SpoolFull:
            break
    free = await read_all(spool)
    await spool.acknowledge(LANE, [free[0].id])  # 60 kB

    (stored,) = await spool.append([bulk(1, 600, lane=OTHER)], letters(0, 100))
    assert await read_all(spool, OTHER) == [stored]
    statistics = spool.statistics()
    assert statistics.size <= 4 * MIB
    assert statistics.dead_letters + statistics.purged == 100
    assert statistics.purged >= 40


async def test_dead_letters_alone_are_refused_when_events_fill_the_spool(spool: StorageEngine) -> None:
    """Their request is sent again later: leaving them out would lose them."""
    await fill(spool)
    before = payloads(await read_all(spool))
    with pytest.raises(SpoolFull):
        await append_all(spool, letters(0, 1000))
    assert payloads(await read_all(spool)) == before
    assert spool.statistics().purged == 0


async def test_a_chunk_that_can_never_fit_does_not_delete_dead_letters(spool: StorageEngine) -> None:
    await spool.append([], letters(0, 500))
    with pytest.raises(SpoolFull):
        await spool.append([bulk(9000, 600)], letters(0, 5))
    assert spool.statistics().dead_letters == 500
    assert spool.statistics().purged == 0


async def test_a_replay_of_the_oldest_dead_letters_works_in_a_full_spool(spool: StorageEngine) -> None:
    await spool.append([], letters(0, 500))
    await fill_up_to(spool, 3 * MIB)
    pairs = await spool.dead_letters(limit=100)
    chunks = [chunk(dead_letter.event or b"") for _, dead_letter in pairs]
    stored = await spool.replay([number for number, _ in pairs], chunks)
    assert (await read_all(spool))[-100:] == stored
    assert spool.statistics().purged == 0


async def test_a_replay_that_does_not_fit_changes_nothing(spool: StorageEngine) -> None:
    await spool.append([], letters(0, 100))
    await fill_up_to(spool, 3 * MIB)
    before = await spool.dead_letters(limit=1000)
    with pytest.raises(SpoolFull):
        await spool.replay([number for number, _ in before[:10]], [bulk(3000, 600)])
    assert await spool.dead_letters(limit=1000) == before


async def test_refused_events_become_dead_letters_also_beyond_the_limit(spool: StorageEngine) -> None:
    """They replace events that were accepted, so none of the same batch is left out."""
    await spool.append([], letters(0, 900))
    (stored,) = await spool.append([chunk(*[b"x" * 1000] * 1200)], [])
    refused = letters(1000, 1200)
    await spool.acknowledge(LANE, [stored.id], refused)
    assert await stored_letters(spool) == refused
    assert spool.statistics().purged == 900
    await spool.append([], letters(3000, 1))
    assert spool.statistics().dead_letter_bytes <= LIMIT


async def test_purge_by_size_deletes_dead_letters_without_an_event_first(spool: StorageEngine) -> None:
    genuine = letters(100, 100)
    await spool.append([], [*genuine, *without_event(0, 1500)])
    size = size_of([], genuine)
    assert await spool.purge(0.0, size) == 1500
    assert await stored_letters(spool) == genuine
    assert await spool.purge(0.0, size // 2) == 50
    assert await stored_letters(spool) == genuine[50:]
    assert spool.statistics().purged == 1550


def test_the_statement_that_deletes_dead_letters_without_an_event_uses_the_index(tmp_path: Path) -> None:
    """A scan of a million others would block all commits."""
    database = Database(StorageLimits(tmp_path / NAME, 64 * MIB))
    select = bulk_sql._OLDEST_LETTERS.format(bulk_sql._WITHOUT_EVENT)
    plan = database.connection.execute(f"EXPLAIN QUERY PLAN {select}", (1, 1)).fetchall()
    assert any("USING INDEX dead_letter_without_event" in str(row) for row in plan), plan
    database.close()


async def test_one_call_deletes_a_bounded_number_of_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([], letters(0, 5000, size=10))
    await spool.close()
    monkeypatch.setattr(transaction, "PURGE_LETTERS", 100)
    lowered = sqlite(tmp_path, letter_bytes=1000)
    await lowered.open()
    await lowered.append([], letters(0, 1, size=10))
    assert 100 <= lowered.statistics().purged <= 1600
    assert await lowered.purge(0.0, 1000) > 3000
    await lowered.close()


async def test_the_size_of_dead_letters_survives_a_restart(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([], [*letters(0, 10), *without_event(0, 10)])
    size = spool.statistics().dead_letter_bytes
    await spool.close()
    later = sqlite(tmp_path)
    await later.open()
    assert later.statistics().dead_letter_bytes == size == size_of([], await stored_letters(later))
    await later.close()


@pytest.mark.parametrize(
    ("settings", "share", "expected"),
    [
        ({}, 1.0, 2**30),
        ({}, 0.25, 2**28),
        ({"max_bytes": 2**22}, 1.0, 2**20),
        ({"max_bytes": 2**22, "dead_letter_share": 0.5}, 0.5, 2**20),
        ({"max_bytes": 2**22, "dead_letter_bytes": 1000}, 0.5, 500),
    ],
)
def test_each_process_has_its_share_of_the_smaller_limit(settings: dict[str, int], share: float, expected: int) -> None:
    assert dead_letter_limit(SpoolSettings(**settings), share) == expected


@pytest.mark.parametrize("count", [1, 50, 2000])
@pytest.mark.parametrize("kind", ["without event", "long texts", "small event", "large event"])
def test_the_estimated_size_of_dead_letters_is_close_to_the_size_on_disk(kind: str, count: int, tmp_path: Path) -> None:
    kinds: dict[str, Sequence[DeadLetter]] = {
        "without event": without_event(0, count),
        "long texts": [
            letter(lane=LANE._replace(upload_tag="漢" * 200), destination="d" * 60, source="s" * 60, message="é" * 300)
        ]
        * count,
        "small event": letters(0, count, size=20),
        "large event": letters(0, count, size=20_000),
    }
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    before = database.used_pages
    with database.commit() as change:
        change.store_letters(kinds[kind])
    database.measure()
    used = (database.used_pages - before) * 4096
    estimate = size_of([], kinds[kind])
    assert used <= 1.5 * estimate + 5 * 4096
    assert estimate <= 1.6 * used + 5 * 4096
    database.close()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=30),
    st.integers(-10, 8000),
)
def test_the_newest_letters_are_kept_and_those_without_an_event_are_left_out_first(
    shapes: list[tuple[bool, int]], excess: int
) -> None:
    given_letters = [
        letter(number, message=f"{number:08}", event=b"x" * size if has_event else None)
        for number, (has_event, size) in enumerate(shapes)
    ]
    kept = newest_letters(given_letters, excess)
    left_out = [each for each in given_letters if each not in kept]
    order = [each for each in given_letters if each.event is None] + [each for each in given_letters if each.event]
    assert left_out == sorted(order[: len(left_out)], key=given_letters.index) or any(
        each.event == b"" for each in given_letters
    )
    assert size_of([], left_out) >= min(excess, size_of([], given_letters))
    assert not left_out or size_of([], left_out) - max(map(dead_letter_size, left_out)) < excess


async def append_all(spool: StorageEngine, dead_letters: Sequence[DeadLetter]) -> None:
    """Append dead letters, a hundred at a time."""
    for start in range(0, len(dead_letters), 100):
        await spool.append([], dead_letters[start : start + 100])


async def fill_up_to(spool: StorageEngine, size: int) -> None:
    """Store events while the spool is smaller than `size`, then until it is full but for the last kilobytes."""
    while spool.statistics().size < size:
        await spool.append([bulk(100, 600)], [])
    for events in (50, 10, 1):
        before = spool.statistics().dead_letters
        while spool.statistics().size + 700 * events + 8 * 4096 < 4 * MIB:
            await spool.append([bulk(events, 600)], [])
        assert spool.statistics().dead_letters == before
