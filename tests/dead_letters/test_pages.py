"""Pages of dead letters are limited in number and size, and together they contain every dead letter once, in order."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import dead_letters
from gateway.dead_letters import MAX_PROCESSES, AggregatedDeadLetters, DeadLetterService, is_full
from gateway.model import DeadLetter, Stage
from gateway.spool import ALL_DEAD_LETTERS, DeadLetterFilter
from gateway.spool.memory import MemorySpool

PAGE_BYTES = 100


def letter(size: int, code: str) -> DeadLetter:
    """A dead letter of `size` bytes."""
    return DeadLetter(Stage.MAPPING, code, "", "store", "shop", None, 0.0, 0, None, b"x" * size)


async def service(letters: list[DeadLetter]) -> DeadLetterService:
    spool = MemorySpool(max_bytes=2**30, clock=lambda: 0.0)
    await spool.open()
    await spool.append([], letters)
    return DeadLetterService(spool, {}, {}, stored=lambda _: None, clock=lambda: 1.0)


LETTERS = st.lists(
    st.builds(letter, st.one_of(st.integers(0, 20), st.integers(0, 150)), st.sampled_from(["a", "b"])), max_size=30
)


@given(
    by_process=st.lists(LETTERS, min_size=1, max_size=4),
    limit=st.integers(1, 12),
    code=st.sampled_from([None, "a"]),
)
def test_the_pages_of_several_processes_contain_every_dead_letter_once_in_order(
    by_process: list[list[DeadLetter]], limit: int, code: str | None
) -> None:
    where = DeadLetterFilter(code=code)

    async def read_all() -> list[tuple[int, DeadLetter]]:
        services = {process: await service(letters) for process, letters in enumerate(by_process)}
        aggregated = AggregatedDeadLetters(services)
        found: list[tuple[int, DeadLetter]] = []
        while page := await aggregated.find(found[-1][0] if found else 0, limit, where):
            assert len(page) <= limit
            assert not is_full(page[:-1], limit), "no page is longer than it has to be"
            found += page
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters, "MAX_PAGE_BYTES", PAGE_BYTES)
        patch.setattr(dead_letters, "READ_SIZE", 3)
        found = asyncio.run(read_all())
    expected = {
        number * MAX_PROCESSES + process: letter
        for process, letters in enumerate(by_process)
        for number, letter in enumerate(letters, 1)
        if where.matches(letter)
    }
    assert found == sorted(expected.items())


async def test_a_page_holds_no_more_than_its_size_and_one_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MAX_PAGE_BYTES", PAGE_BYTES)
    found = await (await service([letter(60, "a")] * 10)).find(0, 1000, ALL_DEAD_LETTERS)
    assert len(found) == 2
    found = await (await service([letter(500, "a")] * 10)).find(0, 1000, ALL_DEAD_LETTERS)
    assert len(found) == 1, "a dead letter that is larger than a page is a page"


async def test_a_discard_of_large_dead_letters_deletes_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MAX_PAGE_BYTES", PAGE_BYTES)
    letters = await service([letter(90, "a")] * 50)
    assert await letters.discard(ALL_DEAD_LETTERS) == 50


async def test_a_replay_of_large_dead_letters_visits_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MAX_PAGE_BYTES", PAGE_BYTES)
    letters = await service([letter(90, "a")] * 50)
    result = await letters.replay(ALL_DEAD_LETTERS)
    assert json.dumps(result.kept) == '{"no_destination": 50}'
