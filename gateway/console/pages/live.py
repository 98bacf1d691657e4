"""The live page, which answers: is anything coming in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.admin.dead_letters import BadQuery
from gateway.console.redacted import shown_id
from gateway.console.tables import Table
from gateway.console.view import Services, View, Visit
from gateway.tap import TapEntry, TapOutcome, TapPage

MAX_ROWS = 100
"""Events that are shown, the newest first."""
MAX_FILTER = 100


@dataclass(frozen=True, slots=True)
class Live:
    """The page."""

    rows: Sequence[TapEntry]
    seen: int
    """Events since the page was opened, shown or not."""
    skipped: int
    """Events since the page was opened that were counted and not looked at."""
    cursor: str
    """For the next look without scripts."""
    sources: Sequence[str]
    outcomes: Sequence[str]
    source: str
    event: str
    outcome: str
    shows_ids: bool


class Feed:
    """The events since a page was opened. One for each open page."""

    def __init__(self) -> None:
        self._rows: deque[TapEntry] = deque(maxlen=MAX_ROWS)
        self._cursor: str | None = None  # None before the first look
        self._seen = 0
        self._skipped = 0

    async def __call__(self, services: Services, visit: Visit) -> View:
        """The page as it is now. Raises `BadQuery`."""
        outcome = visit.query.get("outcome", "")
        if outcome and outcome not in set(TapOutcome):
            raise BadQuery(f"`outcome` must be one of {', '.join(TapOutcome)}.")
        cursor = visit.query.get("cursor", "") if self._cursor is None else self._cursor
        page = await services.gateway.tap(cursor[: MAX_FILTER * 10])
        settings = services.gateway.settings
        source, event = visit.query.get("source", ""), visit.query.get("event", "")[:MAX_FILTER]
        self.add(page, source, event, outcome)
        shows_ids = settings.console.show_ids
        rows = [_with_shown_ids(entry, shows_ids=shows_ids) for entry in reversed(self._rows)]
        model = Live(
            rows=rows,
            seen=self._seen,
            skipped=self._skipped,
            cursor=page.cursor,
            sources=list(settings.sources),
            outcomes=list(TapOutcome),
            source=source,
            event=event,
            outcome=outcome,
            shows_ids=shows_ids,
        )
        return View("live.html", "Live", model, {"events": lambda: Table.of(TapEntry, rows)})

    def add(self, page: TapPage, source: str = "", event: str = "", outcome: str = "") -> None:
        """Add the events of a poll that match the filter; an empty text matches all."""
        self._cursor = page.cursor
        self._skipped += page.skipped
        self._seen += page.skipped + sum(entry.count for entry in page.entries)
        self._rows.extend(
            entry
            for entry in page.entries
            if source in {"", entry.source}
            and event.lower() in entry.event.lower()
            and outcome in {"", entry.outcome.value}
        )


def _with_shown_ids(entry: TapEntry, *, shows_ids: bool) -> TapEntry:
    return replace(
        entry,
        message_id=shown_id(entry.message_id, shows_ids=shows_ids),
        order_id=shown_id(entry.order_id, shows_ids=shows_ids),
    )
