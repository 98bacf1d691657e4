"""Dead letters go out once more or for good, on both engines: none is lost, none is doubled."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import parse
from gateway.dead_letters import PAGE_SIZE, DeadLetterService
from gateway.mapping import compile_mapper
from gateway.model import ChunkId, DeadLetter, JsonObject, Lane, Rejection, Stage, StoredChunk, split_events
from gateway.spool import ALL_DEAD_LETTERS, DeadLetterFilter, StorageEngine, create_spool

LANE = Lane("store", "1", "rudderstack")
NOW = float(int(time.time()))


class Bench:
    """A spool, a desk on it, and what waits anew."""

    def __init__(self, engine: str, folder: Path, sets: JsonObject | None = None) -> None:
        self.settings = parse(
            {
                "spool": {"engine": engine, "path": str(folder / "spool")},
                "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
                "destinations": {
                    "store": {
                        "api": "conversions",
                        "access_token": "t",
                        "standard_to_event_sets": sets or {"Purchase": ["1"]},
                    }
                },
            }
        )
        destinations = self.settings.destinations
        self.mapper = compile_mapper("store", destinations["store"])
        self.spool: StorageEngine = create_spool(self.settings.spool, lambda: NOW)
        self.waiting: list[StoredChunk] = []
        self.dead_letters = DeadLetterService(
            self.spool, destinations, {"store": self.mapper}, stored=self.waiting.extend, clock=lambda: NOW
        )

    @property
    def events(self) -> list[JsonObject]:
        return [json.loads(line) for one in self.waiting for line in split_events(one.chunk.payload)]


@pytest.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(request.param, tmp_path)
    await made.spool.open()
    yield made
    await made.spool.close()


def source_event(number: int) -> JsonObject:
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m{number}",
        "context": {"traits": {"email": f"customer{number}@example.com", "phone": "+12025550146"}},
        "properties": {"order_id": f"o{number}", "total": 3},
    }


def refused(number: int, **changes: object) -> DeadLetter:
    """What Meta refused."""
    body = {"event_name": "Purchase", "event_time": int(NOW) - 60, "action_source": "physical_store", "n": number}
    given: dict[str, object] = {
        "stage": Stage.UPLOAD,
        "code": "event_refused",
        "message": "refused",
        "destination": "store",
        "source": None,
        "lane": LANE,
        "at": NOW - 30,
        "attempts": 1,
        "fault": None,
        "event": json.dumps(body).encode(),
        **changes,
    }
    return DeadLetter(**given)  # type: ignore[arg-type]


def unmapped(bench: Bench, number: int) -> DeadLetter:
    """What the mapper refused, sealed."""
    return refused(
        number,
        stage=Stage.MAPPING,
        code="unmapped_event",
        source="shop",
        lane=None,
        event=bench.mapper.redact(source_event(number)),
    )


async def letters(bench: Bench) -> list[DeadLetter]:
    return [letter for _, letter in await bench.spool.dead_letters(limit=10**6)]


async def test_a_refused_event_goes_back_to_its_lane_as_it_was(bench: Bench) -> None:
    await bench.spool.append([], [refused(1), refused(2)])
    done = await bench.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events, dict(done.kept)) == (2, 2, {})
    assert [event["n"] for event in bench.events] == [1, 2]
    assert await letters(bench) == []
    stored = await bench.spool.read(LANE, ChunkId(0), 1000, 10**6)
    assert [one.chunk for one in stored] == [one.chunk for one in bench.waiting]


async def test_a_sealed_event_is_mapped_to_what_it_would_have_been(bench: Bench) -> None:
    await bench.spool.append([], [unmapped(bench, 7)])
    await bench.dead_letters.replay(ALL_DEAD_LETTERS)
    original = bench.mapper.map(source_event(7), int(NOW))
    assert isinstance(original, list)
    assert bench.events == [json.loads(original[0].body)]


async def test_what_still_cannot_go_stays_with_its_reason(bench: Bench) -> None:
    redacted = json.loads(bench.mapper.redact({**source_event(1), "event": "Nobody Mapped This"}) or b"")
    await bench.spool.append(
        [],
        [
            refused(1, stage=Stage.MAPPING, lane=None, event=json.dumps(redacted).encode()),
            refused(2, event=None),
            refused(3, event=b"{"),
            refused(4, destination="gone", lane=Lane("gone", "1", "t")),
            refused(5, event=json.dumps({"event_time": int(NOW) - 8 * 86400}).encode(), stage=Stage.EXPIRED),
            refused(6),
        ],
    )
    done = await bench.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events) == (1, 1)
    assert dict(done.kept) == {"unmapped_event": 1, "no_event": 2, "no_destination": 1, "expired": 1}
    assert len(await letters(bench)) == 5


async def test_only_those_that_are_meant_go(bench: Bench) -> None:
    await bench.spool.append([], [refused(1), refused(2, code="other"), refused(3, at=NOW - 1000)])
    assert (await bench.dead_letters.replay(DeadLetterFilter(code="other"))).letters == 1
    assert (await bench.dead_letters.replay(DeadLetterFilter(until=NOW - 500))).letters == 1
    assert await bench.dead_letters.discard(DeadLetterFilter(code="event_refused")) == 1
    assert await letters(bench) == []
    assert [event["n"] for event in bench.events] == [2, 3]


async def test_many_go_in_pages_and_in_batches_within_the_limits(bench: Bench) -> None:
    count = 3 * PAGE_SIZE + 5
    await bench.spool.append([], [refused(number) for number in range(count)])
    done = await bench.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events) == (count, count)
    assert [event["n"] for event in bench.events] == list(range(count))
    assert max(one.chunk.count for one in bench.waiting) <= 1000


async def test_a_letter_from_after_the_start_of_a_replay_is_left_alone(bench: Bench) -> None:
    """Else a replay could run for ever against a Meta that refuses at once."""
    await bench.spool.append([], [refused(1, at=NOW)])
    assert (await bench.dead_letters.replay(ALL_DEAD_LETTERS)).letters == 0
    assert len(await letters(bench)) == 1


async def test_a_letter_that_somebody_else_took_is_passed_over(bench: Bench) -> None:
    await bench.spool.append([], [refused(1), refused(2)])
    listed = await bench.spool.dead_letters()
    original = bench.spool.dead_letters
    calls = 0

    async def stale(after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            await bench.spool.discard([listed[0][0]])
            return listed
        return await original(after, limit, where)

    bench.spool.dead_letters = stale  # type: ignore[method-assign, assignment]
    done = await bench.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, [event["n"] for event in bench.events]) == (1, [2])


async def test_what_is_rejected_by_todays_settings_names_todays_code(bench: Bench) -> None:
    event = source_event(1)
    del event["context"]
    assert isinstance(bench.mapper.map(event, int(NOW)), Rejection)
    await bench.spool.append(
        [], [refused(1, stage=Stage.MAPPING, lane=None, event=json.dumps(event).encode(), code="unmapped_event")]
    )
    assert dict((await bench.dead_letters.replay(ALL_DEAD_LETTERS)).kept) == {"no_match_key": 1}
