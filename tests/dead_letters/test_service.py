"""Replaying and discarding dead letters, with both spool engines: no event is lost or duplicated."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import DestinationSettings, parse
from gateway.dead_letters import MAX_CODES, PAGE_SIZE, AggregatedDeadLetters, DeadLetterService, LaneAdmission
from gateway.mapping import compile_mapper
from gateway.model import ChunkId, DeadLetter, JsonObject, Lane, Rejection, Stage, StoredChunk, split_events
from gateway.spool import ALL_DEAD_LETTERS, DeadLetterFilter, StorageEngine, create_spool

LANE = Lane("store", "1", "rudderstack")
NOW = float(int(time.time()))


class Fixture:
    """An open spool, a `DeadLetterService` on it, and the chunks that it stored."""

    def __init__(self, engine: str, folder: Path) -> None:
        self.settings = parse(
            {
                "spool": {"engine": engine, "path": str(folder / "spool")},
                "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
                "destinations": {
                    "store": {
                        "api": "conversions",
                        "access_token": "t",
                        "standard_to_event_sets": {"Purchase": ["1"]},
                    }
                },
            }
        )
        destinations = self.settings.destinations
        self.mapper = compile_mapper("store", destinations["store"])
        self.spool: StorageEngine = create_spool(self.settings.spool, lambda: NOW)
        self.stored: list[StoredChunk] = []
        self.dead_letters = DeadLetterService(
            self.spool, destinations, {"store": self.mapper}, stored=self.stored.extend, clock=lambda: NOW
        )

    @property
    def events(self) -> list[JsonObject]:
        """The events of the stored chunks."""
        return [json.loads(event) for stored in self.stored for event in split_events(stored.chunk.payload)]


@pytest.fixture(params=["sqlite", "memory"])
async def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(request.param, tmp_path)
    await fixture.spool.open()
    yield fixture
    await fixture.spool.close()


def source_event(number: int) -> JsonObject:
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m{number}",
        "context": {"traits": {"email": f"customer{number}@example.com", "phone": "+12025550146"}},
        "properties": {"order_id": f"o{number}", "total": 3},
    }


def refused(number: int, **changes: object) -> DeadLetter:
    """The dead letter of an event that Meta refused."""
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


def unmapped(fixture: Fixture, number: int) -> DeadLetter:
    """The dead letter of an event that the mapper rejected, redacted."""
    return refused(
        number,
        stage=Stage.MAPPING,
        code="unmapped_event",
        source="shop",
        lane=None,
        event=fixture.mapper.redact(source_event(number)),
    )


async def letters(fixture: Fixture) -> list[DeadLetter]:
    return [letter for _, letter in await fixture.spool.dead_letters(limit=10**6)]


async def test_a_refused_event_is_put_back_into_its_lane_unchanged(fixture: Fixture) -> None:
    await fixture.spool.append([], [refused(1), refused(2)])
    done = await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events, dict(done.kept)) == (2, 2, {})
    assert [event["n"] for event in fixture.events] == [1, 2]
    assert await letters(fixture) == []
    stored = await fixture.spool.read(LANE, ChunkId(0), 1000, 10**6)
    assert [chunk.chunk for chunk in stored] == [chunk.chunk for chunk in fixture.stored]


async def test_a_redacted_event_is_mapped_to_the_same_event_as_the_original(fixture: Fixture) -> None:
    await fixture.spool.append([], [unmapped(fixture, 7)])
    await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    original = fixture.mapper.map(source_event(7), int(NOW))
    assert isinstance(original, list)
    assert fixture.events == [json.loads(original[0].body)]


async def test_events_that_still_cannot_be_replayed_are_kept_and_counted_by_reason(fixture: Fixture) -> None:
    redacted = json.loads(fixture.mapper.redact({**source_event(1), "event": "Unmapped Event"}) or b"")
    await fixture.spool.append(
        [],
        [
            refused(1, stage=Stage.MAPPING, lane=None, event=json.dumps(redacted).encode()),
            refused(2, event=None),
            refused(3, event=b"{"),
            refused(4, destination="gone", lane=Lane("gone", "1", "t")),
            refused(5, event=json.dumps({"event_time": int(NOW) - 8 * 86400}).encode(), stage=Stage.EXPIRED),
            refused(6),
            refused(7, event=b"\xff"),
            refused(8, event=b"[]"),
            refused(9, event=b"7", stage=Stage.MAPPING, lane=None),
            refused(10, event=b'{"event_time":1e300}'),
            refused(11, lane=Lane("gone", "1", "t")),
        ],
    )
    done = await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events) == (1, 1)
    assert dict(done.kept) == {"unmapped_event": 1, "no_event": 6, "no_destination": 2, "expired": 1}
    assert len(await letters(fixture)) == 10


async def test_only_dead_letters_that_match_the_filter_are_replayed_or_discarded(fixture: Fixture) -> None:
    await fixture.spool.append([], [refused(1), refused(2, code="other"), refused(3, at=NOW - 1000)])
    assert (await fixture.dead_letters.replay(DeadLetterFilter(code="other"))).letters == 1
    assert (await fixture.dead_letters.replay(DeadLetterFilter(until=NOW - 500))).letters == 1
    assert await fixture.dead_letters.discard(DeadLetterFilter(code="event_refused")) == 1
    assert await letters(fixture) == []
    assert [event["n"] for event in fixture.events] == [2, 3]


async def test_many_dead_letters_are_replayed_in_order_and_in_chunks_within_the_limits(fixture: Fixture) -> None:
    count = 3 * PAGE_SIZE + 5
    await fixture.spool.append([], [refused(number) for number in range(count)])
    done = await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events) == (count, count)
    assert [event["n"] for event in fixture.events] == list(range(count))
    assert max(stored.chunk.count for stored in fixture.stored) <= 1000


async def test_a_dead_letter_written_after_the_start_of_a_replay_is_not_replayed(fixture: Fixture) -> None:
    """Otherwise a replay might never end while Meta refuses the events at once."""
    await fixture.spool.append([], [refused(1, at=NOW)])
    assert (await fixture.dead_letters.replay(ALL_DEAD_LETTERS)).letters == 0
    assert len(await letters(fixture)) == 1


async def test_a_dead_letter_that_was_deleted_during_the_replay_is_skipped(fixture: Fixture) -> None:
    await fixture.spool.append([], [refused(1), refused(2)])
    page = await fixture.spool.dead_letters()
    original = fixture.spool.dead_letters
    calls = 0

    async def stale_page(after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            await fixture.spool.discard([page[0][0]])
            return page
        return await original(after, limit, where)

    fixture.spool.dead_letters = stale_page  # type: ignore[method-assign, assignment]
    done = await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, [event["n"] for event in fixture.events]) == (1, [2])


async def test_an_event_that_is_rejected_again_is_counted_by_its_new_code(fixture: Fixture) -> None:
    event = source_event(1)
    del event["context"]
    assert isinstance(fixture.mapper.map(event, int(NOW)), Rejection)
    await fixture.spool.append(
        [], [refused(1, stage=Stage.MAPPING, lane=None, event=json.dumps(event).encode(), code="unmapped_event")]
    )
    assert dict((await fixture.dead_letters.replay(ALL_DEAD_LETTERS)).kept) == {"no_match_key": 1}


async def test_an_event_that_denies_consent_after_a_change_of_the_settings_is_kept_and_not_uploaded(
    fixture: Fixture,
) -> None:
    event = source_event(1)
    event["context"] |= {"consentManagement": {"deniedConsentIds": ["ads"]}}
    redacted = fixture.mapper.redact({**event, "event": "Unmapped Event"})
    replayable = refused(1, stage=Stage.MAPPING, lane=None, event=redacted, code="unmapped_event")
    tree = fixture.settings.destinations["store"].model_dump()
    needs_consent = DestinationSettings.model_validate(
        {**tree, "consent": {"categories": ["ads"]}, "events_to_standard": {"Unmapped Event": ["Purchase"]}}
    )
    await fixture.spool.append([], [replayable])
    fixture.dead_letters.reload({"store": needs_consent}, {"store": compile_mapper("store", needs_consent)})
    done = await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, done.events, dict(done.kept)) == (0, 0, {"consent_denied": 1})
    assert await letters(fixture) == [replayable]
    assert fixture.events == []


async def test_an_event_of_an_unknown_type_is_never_uploaded_as_a_track_call(fixture: Fixture) -> None:
    event = fixture.mapper.redact({**source_event(1), "type": "sale"})
    await fixture.spool.append([], [refused(1, stage=Stage.MAPPING, lane=None, event=event, code="unknown_type")])
    done = await fixture.dead_letters.replay(ALL_DEAD_LETTERS)
    assert (done.letters, dict(done.kept)) == (0, {"unknown_type": 1})
    assert fixture.events == []


async def test_only_the_dead_letters_of_an_order_are_replayed(fixture: Fixture) -> None:
    await fixture.spool.append([], [refused(n, order_id=f"o{n}", message_id="m") for n in range(3)])
    assert (await fixture.dead_letters.replay(DeadLetterFilter(order_id="o1"))).letters == 1
    assert [event["n"] for event in fixture.events] == [1]
    assert [letter.order_id for letter in await letters(fixture)] == ["o0", "o2"]


async def test_the_codes_of_several_processes_are_added_and_bounded(fixture: Fixture) -> None:
    await fixture.spool.append([], [refused(n, code=f"meta_{n % 300}") for n in range(301)])
    codes = await AggregatedDeadLetters({0: fixture.dead_letters, 1: fixture.dead_letters}).codes()
    assert len(codes) == MAX_CODES
    assert next(iter(codes.items())) == ("meta_0", 4), "the most frequent first"


async def test_a_replay_into_a_stopped_gateway_keeps_to_the_limit_of_lanes(fixture: Fixture) -> None:
    destinations = fixture.settings.destinations
    default = destinations["store"].upload_tag
    existing = Lane("store", "1", "existing")
    admission = LaneAdmission(destinations, [existing], 3)
    dead_letters = DeadLetterService(
        fixture.spool,
        destinations,
        {"store": fixture.mapper},
        stored=fixture.stored.extend,
        clock=lambda: NOW,
        admit=admission.admit,
    )
    tags = ["a", "b", "c", "existing", "a", default]
    await fixture.spool.append([], [refused(n, lane=Lane("store", "1", tag)) for n, tag in enumerate(tags)])
    assert (await dead_letters.replay(ALL_DEAD_LETTERS)).events == len(tags)
    tags_of = {
        json.loads(event)["n"]: stored.chunk.lane.upload_tag
        for stored in fixture.stored
        for event in split_events(stored.chunk.payload)
    }
    assert tags_of == {0: "a", 1: "b", 2: default, 3: "existing", 4: "a", 5: default}
