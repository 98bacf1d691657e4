"""What the demo shows: a live table on a terminal, a line a second elsewhere, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.demo.sender import Counts
from gateway.model import JsonObject

LINE_SECONDS = 1.0


@dataclass(slots=True)
class State:
    """The three sides of the account: the sender's, the gateway's, Meta's."""

    counts: Counts
    begun: float
    """Loop time, seconds, as the others."""
    now: float = 0.0
    drained_at: float | None = None
    """When the sender had finished; None while it sends."""
    status: JsonObject = field(default_factory=dict)
    meta: JsonObject = field(default_factory=dict)

    def ledger(self, name: str) -> int:
        """A count of the gateway's account."""
        return int(self.status.get("ledger", {}).get(name, 0))

    @property
    def waiting(self) -> int:
        """Events that are accepted and neither delivered nor dead-lettered."""
        return self.ledger("waiting")

    @property
    def calls(self) -> int:
        """Calls that the stand-in has seen."""
        return int(self.meta.get("calls", 0))

    @property
    def saved(self) -> int:
        """Calls that a gateway with one call an event would have made on top."""
        return max(0, self.ledger("delivered") - self.calls)

    @property
    def seconds(self) -> float:
        """Since the start, until the sender had finished."""
        return (self.now if self.drained_at is None else self.drained_at) - self.begun

    def rows(self) -> Sequence[tuple[str, str]]:
        """What there is to say, from top to bottom."""
        counts = self.counts
        rejected = ", ".join(f"{code} {count:,}" for code, count in counts.rejected.most_common())
        return [
            ("sent", f"{counts.sent:,} in {counts.requests:,} requests"),
            ("accepted", f"{counts.accepted:,}"),
            ("rejected", f"{counts.rejected.total():,}" + (f"  ({rejected})" if rejected else "")),
            ("waiting", f"{self.waiting:,}"),
            ("delivered", f"{self.ledger('delivered'):,}"),
            ("dead-lettered", f"{self.ledger('dead_lettered'):,}"),
            ("calls to Meta", f"{self.calls:,}"),
            ("events a call", f"{self.meta.get('events_per_call', 0):,.0f}"),
            ("calls saved", f"{self.saved:,} against one call per event"),
            ("events a second", f"{counts.accepted / self.seconds:,.0f}" if self.seconds > 0 else "-"),
        ]

    def faults(self) -> list[str]:
        """Where the account does not add up; empty when it does."""
        accepted, delivered, dead = (self.ledger(name) for name in ("accepted", "delivered", "dead_lettered"))
        arrived = int(self.meta.get("events", 0))
        faults = []
        if accepted != delivered + dead:
            faults.append(f"accepted {accepted:,} is not delivered {delivered:,} + dead-lettered {dead:,}")
        if accepted != self.counts.accepted:
            faults.append(f"the sender was told {self.counts.accepted:,} accepted, the gateway counts {accepted:,}")
        if arrived != delivered:
            faults.append(f"Meta has {arrived:,} events, the gateway counts {delivered:,} delivered")
        return faults


def summary(state: State) -> Table:
    """The last word."""
    accepted, delivered, dead = (state.ledger(name) for name in ("accepted", "delivered", "dead_lettered"))
    law = "=" if accepted == delivered + dead else "IS NOT"
    return _table(
        state, title=f"accepted {accepted:,} {law} delivered {delivered:,} + dead-lettered {dead:,}", rows=state.rows()
    )


def _table(state: State, *, title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, min_width=60)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("time", f"{state.seconds:.1f} s")
    for name, value in rows:
        table.add_row(name, value)
    return table


class Screen:
    """Where the state is shown while it changes."""

    def __init__(self, console: Console, *, plain: bool) -> None:
        self._console = console
        self._plain = plain
        self._live = None if plain else Live(console=console, auto_refresh=False, transient=True)
        self._next_line = 0.0

    def show(self, state: State) -> None:
        """Show it as it is now."""
        phase = "sending" if state.drained_at is None else "draining"
        if self._live is not None:
            self._live.update(
                _table(state, title=f"{phase} (Ctrl-C ends it in order)", rows=state.rows()), refresh=True
            )
        elif state.now >= self._next_line:
            self._next_line = state.now + LINE_SECONDS
            counts = state.counts
            self._console.print(
                f"{state.now - state.begun:5.1f} s  {phase}: accepted {counts.accepted:,}"
                f"  rejected {counts.rejected.total():,}  waiting {state.waiting:,}"
                f"  delivered {state.ledger('delivered'):,}  calls {state.calls:,}"
                f"  events a call {state.meta.get('events_per_call', 0):,.0f}",
                soft_wrap=True,
            )

    def end(self) -> None:
        """Leave the screen as it is."""
        if self._live is not None:
            self._live.stop()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
