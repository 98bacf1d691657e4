"""FairScheduler on the loop: how much runs in one round, in which order, and that nobody waits for ever."""

from __future__ import annotations

import asyncio

from gateway.ingest.fair_scheduler import FairScheduler


class Rounds:
    """Counts the rounds of the loop while something runs."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        self.number += 1
        self._loop.call_soon(self._next)


async def test_what_is_ready_at_once_is_spread_over_rounds_in_the_order_in_which_it_came() -> None:
    turns, rounds = FairScheduler(100), Rounds()
    ran: list[tuple[int, int]] = []

    async def request(number: int) -> None:
        if turn := turns.acquire(50):
            await turn
        ran.append((rounds.number, number))

    await asyncio.gather(*(request(number) for number in range(11)))

    assert [number for _, number in ran] == list(range(11))
    in_rounds = [round_ for round_, _ in ran]
    assert max(in_rounds.count(round_) for round_ in in_rounds) == 2
    assert in_rounds[-1] - in_rounds[0] <= 6  # no round goes by without one, but for the first wait


async def test_one_that_is_larger_than_a_round_gets_its_turn() -> None:
    turns = FairScheduler(10)
    assert turns.acquire(1000) is None
    assert turns.acquire(1000) is not None


async def test_who_comes_later_does_not_pass_who_waits() -> None:
    turns = FairScheduler(10)
    turns.acquire(10)
    first = turns.acquire(10)
    await asyncio.sleep(0)  # the round of the first
    second = turns.acquire(1)
    assert first is not None
    assert first.done()
    assert second is not None
    assert not second.done()
    await second


async def test_one_that_gave_up_costs_no_turn() -> None:
    turns = FairScheduler(1)
    turns.acquire(1)
    gone, stays = turns.acquire(1), turns.acquire(1)
    assert gone is not None
    assert stays is not None
    gone.cancel()
    await asyncio.sleep(0)
    assert stays.done()


async def test_an_idle_loop_is_left_alone() -> None:
    turns = FairScheduler(10)
    turns.acquire(3)
    for _ in range(3):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert not loop._ready  # type: ignore[attr-defined] # the default loop's own list
    assert turns.acquire(10) is None
