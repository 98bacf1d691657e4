"""FairScheduler: events for each iteration of the event loop, the order of turns, and progress of every request."""

from __future__ import annotations

import asyncio

from gateway.ingest.fair_scheduler import FairScheduler


class IterationCounter:
    """Counts the iterations of the event loop."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        self.number += 1
        self._loop.call_soon(self._next)


async def test_requests_that_are_ready_at_once_run_in_several_iterations_in_order_of_arrival() -> None:
    scheduler, iterations = FairScheduler(100), IterationCounter()
    ran: list[tuple[int, int]] = []

    async def request(number: int) -> None:
        if turn := scheduler.acquire(50):
            await turn
        ran.append((iterations.number, number))

    await asyncio.gather(*(request(number) for number in range(11)))

    assert [number for _, number in ran] == list(range(11))
    ran_in = [iteration for iteration, _ in ran]
    assert max(ran_in.count(iteration) for iteration in ran_in) == 2
    assert ran_in[-1] - ran_in[0] <= 6  # no iteration is left unused, except the first


async def test_a_turn_larger_than_the_limit_is_granted_one_in_each_iteration() -> None:
    scheduler, iterations = FairScheduler(10), IterationCounter()
    ran: list[tuple[int, int]] = []

    async def request(number: int) -> None:
        if turn := scheduler.acquire(1000):
            await turn
        ran.append((iterations.number, number))

    await asyncio.gather(*(request(number) for number in range(5)))

    assert [number for _, number in ran] == list(range(5))
    assert len({iteration for iteration, _ in ran}) == 5


async def test_small_turns_do_not_wait_for_large_ones_nor_large_ones_for_small_ones() -> None:
    scheduler = FairScheduler(10)
    large = [scheduler.acquire(1000) for _ in range(100)]
    assert large[0] is None
    assert scheduler.acquire(10) is None
    small = [scheduler.acquire(5) for _ in range(100)]
    for iteration in range(1, 50):
        await asyncio.sleep(0)
        assert sum(turn is not None and turn.done() for turn in large) == iteration
        assert sum(turn is not None and turn.done() for turn in small) == 2 * iteration


async def test_a_cancelled_large_turn_is_passed_over() -> None:
    scheduler = FairScheduler(10)
    scheduler.acquire(1000)
    cancelled, waiting = scheduler.acquire(1000), scheduler.acquire(1000)
    assert cancelled is not None
    assert waiting is not None
    cancelled.cancel()
    await asyncio.sleep(0)
    assert waiting.done()


async def test_a_new_request_does_not_overtake_a_waiting_one() -> None:
    scheduler = FairScheduler(10)
    scheduler.acquire(10)
    first = scheduler.acquire(10)
    await asyncio.sleep(0)  # the iteration in which the first is granted
    second = scheduler.acquire(1)
    assert first is not None
    assert first.done()
    assert second is not None
    assert not second.done()
    await second


async def test_a_cancelled_request_does_not_use_up_a_turn() -> None:
    scheduler = FairScheduler(1)
    scheduler.acquire(1)
    cancelled, waiting = scheduler.acquire(1), scheduler.acquire(1)
    assert cancelled is not None
    assert waiting is not None
    cancelled.cancel()
    await asyncio.sleep(0)
    assert waiting.done()


async def test_the_scheduler_schedules_no_callbacks_while_it_is_idle() -> None:
    scheduler = FairScheduler(10)
    scheduler.acquire(3)
    scheduler.acquire(1000)
    for _ in range(3):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert not loop._ready  # type: ignore[attr-defined] # the queue of the default loop
    assert scheduler.acquire(10) is None
