"""MemoryBudget and BudgetShare, compared with a model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.memory_budget import BudgetShare, MemoryBudget

LIMIT = 1000
SIZES = st.integers(0, 1200)
STEPS = st.lists(st.tuples(st.sampled_from(["reserve", "release", "share", "release share", "cache"]), SIZES))


@given(STEPS)
def test_what_is_reserved_and_cached_never_exceeds_the_limits_and_is_refused_only_when_it_would(
    steps: list[tuple[str, int]],
) -> None:
    budget = MemoryBudget(LIMIT)
    share = BudgetShare(budget, LIMIT // 4)
    reserved, shared, cached = 0, 0, 0

    def evict() -> None:
        nonlocal cached
        budget.uncache(cached)
        cached = 0

    budget.evict_with(evict)
    for step, size in steps:
        match step:
            case "reserve":
                granted = budget.reserve(size)
                assert granted == (reserved + shared + size <= LIMIT)
                reserved += size if granted else 0
            case "release":
                budget.release(min(size, reserved))
                reserved -= min(size, reserved)
            case "share":
                granted = share.reserve(size)
                assert granted == (shared + size <= LIMIT // 4 and reserved + shared + size <= LIMIT)
                shared += size if granted else 0
            case "release share":
                share.release(min(size, shared))
                shared -= min(size, shared)
            case _:
                granted = budget.cache(size)
                assert granted == (cached + size <= LIMIT // 2 and reserved + shared + cached + size <= LIMIT)
                cached += size if granted else 0
        assert (budget.reserved, share.reserved, budget.cached) == (reserved + shared, shared, cached)
        assert budget.reserved + budget.cached <= LIMIT
        assert budget.cached <= LIMIT // 2
        assert share.reserved <= LIMIT // 4


def test_cached_bytes_are_given_up_for_a_reservation_and_only_then() -> None:
    budget = MemoryBudget(LIMIT)
    evictions: list[int] = []

    def evict() -> None:
        evictions.append(budget.cached)
        budget.uncache(budget.cached)

    budget.evict_with(evict)
    assert budget.cache(500)
    assert budget.reserve(500)
    assert not evictions
    assert not budget.reserve(501)
    assert not evictions, "nothing is given up for a reservation that fails anyway"
    assert budget.reserve(1)
    assert evictions == [500]
    assert (budget.reserved, budget.cached) == (501, 0)


def test_without_a_cache_to_clear_a_reservation_fails_at_the_limit() -> None:
    budget = MemoryBudget(LIMIT)
    assert budget.cache(300)
    assert not budget.reserve(701)
    assert budget.reserve(700)


def test_a_share_that_fails_reserves_nothing() -> None:
    budget = MemoryBudget(LIMIT)
    share = BudgetShare(budget, 250)
    assert not share.reserve(251)
    assert budget.reserve(900)
    assert not share.reserve(101)
    assert (budget.reserved, share.reserved) == (900, 0)
