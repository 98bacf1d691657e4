"""One limit for all memory that senders can make the process hold.

Memory is reserved before it is used and released afterwards, at the size that it has in the process, not on the wire.
"""

from __future__ import annotations

from collections.abc import Callable


class MemoryBudget:
    """Counts bytes against a limit. Only the event loop's thread uses it.

    There are two kinds of use. *Reserved* bytes belong to requests in progress; a reservation fails at the limit.
    *Cached* bytes are copies of data that is stored elsewhere; they take at most half of the limit, and are given up
    when a reservation needs the space.
    """

    __slots__ = ("_evict", "cached", "limit", "reserved")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        self.cached = 0
        self._evict: Callable[[], None] | None = None

    def evict_with(self, evict: Callable[[], None]) -> None:
        """Call `evict` when a reservation needs cached space; it has to `uncache` all that it cached."""
        self._evict = evict

    def reserve(self, size: int) -> bool:
        """Reserve bytes; False: there are not enough. Runs a few times for each request."""
        if self.reserved + self.cached + size > self.limit and not self._make_space(size):
            return False
        self.reserved += size
        return True

    def release(self, size: int) -> None:
        """Release reserved bytes."""
        self.reserved -= size

    def cache(self, size: int) -> bool:
        """Count cached bytes; False: do not cache them."""
        if self.cached + size > self.limit // 2 or self.reserved + self.cached + size > self.limit:
            return False
        self.cached += size
        return True

    def uncache(self, size: int) -> None:
        """Cached bytes were given up."""
        self.cached -= size

    def _make_space(self, size: int) -> bool:
        if self.reserved + size > self.limit:
            return False
        if self._evict is not None and self.cached:
            self._evict()
        return self.reserved + self.cached + size <= self.limit


class BudgetShare:
    """A part of a budget for one kind of use, so that this use cannot take all of it. Counted in the budget too."""

    __slots__ = ("_budget", "limit", "reserved")

    def __init__(self, budget: MemoryBudget, limit: int) -> None:
        self._budget = budget
        self.limit = limit
        self.reserved = 0

    def reserve(self, size: int) -> bool:
        """Reserve bytes; False: there are not enough, in the share or in the budget."""
        if self.reserved + size > self.limit or not self._budget.reserve(size):
            return False
        self.reserved += size
        return True

    def release(self, size: int) -> None:
        """Release reserved bytes."""
        self.reserved -= size
        self._budget.release(size)
