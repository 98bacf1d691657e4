"""Keeps the newest events for the live view, while somebody looks."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from gateway.tap.model import TapEntry, TapPage

ACTIVE_SECONDS = 5.0
"""Seconds after a poll in which events are captured."""
MAX_ENTRIES = 200
"""Entries that are kept for the next poll, and that a poll returns."""
ENTRIES_PER_SECOND = 50
"""Entries that a process captures; other events are counted."""

_CURSOR = re.compile(r"(\d{1,15})\.(\d{1,15})", re.ASCII).fullmatch
_PART = re.compile(r"(\d{1,4}):(\d{1,15}\.\d{1,15})", re.ASCII).fullmatch


class Tap:
    """The live view of one process. Only the loop's thread uses it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.is_active = False
        """Whether somebody looks, so that events are to be published."""
        self._polled_at = 0.0
        self._entries: deque[TapEntry] = deque(maxlen=MAX_ENTRIES)
        self._published = 0  # entries so far; the last one in `_entries` has this number
        self._skipped = 0  # events without an entry so far
        self._allowance = 0.0  # entries that may be published now
        self._allowed_at = 0.0

    def allowance(self) -> int:
        """How many entries may be published now. Ends the capture if nobody has polled for a while."""
        now = self._monotonic()
        if now - self._polled_at > ACTIVE_SECONDS:
            self.is_active = False
            self._entries.clear()
            return 0
        refilled = self._allowance + (now - self._allowed_at) * ENTRIES_PER_SECOND
        self._allowance, self._allowed_at = min(ENTRIES_PER_SECOND, refilled), now
        return max(0, int(self._allowance))  # requests that were described at the same time share it

    def publish(self, entries: Sequence[TapEntry], events: int) -> None:
        """Add the entries of a request with so many source events, at most `allowance` of them."""
        self._allowance -= len(entries)
        self._published += len(entries)
        self._entries.extend(entries)
        self._skipped += max(0, events - sum(entry.count for entry in entries))

    def poll(self, cursor: str) -> TapPage:
        """What was published since the poll that returned `cursor`; with another text, all that is kept."""
        now = self._monotonic()
        if now - self._polled_at > ACTIVE_SECONDS:
            self._entries.clear()
        self._polled_at = now
        self.is_active = True
        match = _CURSOR(cursor)
        published, skipped = (int(match[1]), int(match[2])) if match else (self._published, self._skipped)
        if match is None or published > self._published or skipped > self._skipped:  # the first poll of this process
            published, skipped = self._published - len(self._entries), self._skipped
        new = self._published - published
        entries = list(self._entries)[-new:] if new else []
        lost = new - len(entries) + self._skipped - skipped
        return TapPage(entries, f"{self._published}.{self._skipped}", lost)


def without_ids(page: TapPage) -> TapPage:
    """The page without message IDs and order IDs."""
    return replace(page, entries=[replace(entry, message_id=None, order_id=None) for entry in page.entries])


def split_cursor(cursor: str) -> Mapping[int, str]:
    """The cursors of the processes, by their number; parts that cannot be read are left out."""
    return {int(match[1]): match[2] for part in cursor.split(",") if (match := _PART(part))}


def merge_pages(pages: Mapping[int, TapPage]) -> TapPage:
    """The pages of several processes, by their number, as one."""
    entries = sorted((entry for page in pages.values() for entry in page.entries), key=attrgetter("at"))
    shown = entries[-MAX_ENTRIES:]
    skipped = sum(entry.count for entry in entries[: len(entries) - len(shown)])
    return TapPage(
        entries=shown,
        cursor=",".join(f"{number}:{page.cursor}" for number, page in pages.items()),
        skipped=skipped + sum(page.skipped for page in pages.values()),
    )
