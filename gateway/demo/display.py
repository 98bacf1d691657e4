"""The demo's output: a table that updates on a terminal, one line per second otherwise, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.demo.sender import Counts
from gateway.model import JsonObject

LINE_INTERVAL = 1.0
"""Seconds between two lines where there is no terminal."""


@dataclass(slots=True)
class State:
    """Counts of the sender, the gateway and the sandbox. All times are loop times in seconds."""

    counts: Counts
    started_at: float
    now: float = 0.0
    sent_at: float | None = None
    """When the sender had finished; None while it sends."""
    status: JsonObject = field(default_factory=dict)
    """The gateway's `/status`."""
    sandbox_stats: JsonObject = field(default_factory=dict)

    def ledger(self, name: str) -> int:
        """A count of the gateway's event ledger."""
        return int(self.status.get("ledger", {}).get(name, 0))

    @property
    def waiting(self) -> int:
        """Accepted events that are neither delivered nor dead-lettered yet."""
        return self.ledger("waiting")

    @property
    def calls(self) -> int:
        """Calls that the sandbox received."""
        return int(self.sandbox_stats.get("calls", 0))

    @property
    def calls_saved(self) -> int:
        """Further calls that would have been needed with one call per event."""
        return max(0, self.ledger("delivered") - self.calls)

    @property
    def seconds(self) -> float:
        """From the start until the sender had finished, or until now."""
        return (self.now if self.sent_at is None else self.sent_at) - self.started_at

    def rows(self) -> Sequence[tuple[str, str]]:
        """Labels and values of the table."""
        counts = self.counts
        rejected = ", ".join(f"{code} {count:,}" for code, count in counts.rejected.most_common())
        return [
            ("sent", f"{counts.sent:,} events in {counts.requests:,} requests"),
            ("accepted", f"{counts.accepted:,}"),
            ("rejected", f"{counts.rejected.total():,}" + (f"  ({rejected})" if rejected else "")),
            ("waiting", f"{self.waiting:,}"),
            ("delivered", f"{self.ledger('delivered'):,}"),
            ("dead letters", f"{self.ledger('dead_lettered'):,}"),
            ("calls to Meta", f"{self.calls:,}"),
            ("events per call", f"{self.sandbox_stats.get('events_per_call', 0):,.0f}"),
            ("calls saved", f"{self.calls_saved:,} compared with one call per event"),
            ("events per second", f"{counts.accepted / self.seconds:,.0f} accepted" if self.seconds > 0 else "-"),
        ]

    def errors(self) -> list[str]:
        """Differences between the counts of the sender, the gateway and the sandbox; empty when they agree."""
        accepted, delivered, dead = (self.ledger(name) for name in ("accepted", "delivered", "dead_lettered"))
        arrived = int(self.sandbox_stats.get("events", 0))
        errors = []
        if accepted != delivered + dead:
            errors.append(f"accepted {accepted:,} differs from delivered {delivered:,} + dead letters {dead:,}")
        if accepted != self.counts.accepted:
            errors.append(f"the sender counts {self.counts.accepted:,} accepted events, the gateway {accepted:,}")
        if arrived != delivered:
            errors.append(f"the simulated Meta received {arrived:,} events, the gateway counts {delivered:,} delivered")
        return errors


def summary(state: State) -> Table:
    """The table that is shown at the end."""
    accepted, delivered, dead = (state.ledger(name) for name in ("accepted", "delivered", "dead_lettered"))
    relation = "=" if accepted == delivered + dead else "DIFFERS FROM"
    title = f"accepted {accepted:,} {relation} delivered {delivered:,} + dead letters {dead:,}"
    return _table(state, title=title)


def _table(state: State, *, title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, min_width=60)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("time", f"{state.seconds:.1f} s")
    for name, value in state.rows():
        table.add_row(name, value)
    return table


class Screen:
    """Shows the state while it changes. A context manager: it updates the table only inside the context."""

    def __init__(self, console: Console, *, plain: bool) -> None:
        """`plain`: print lines instead of a table that updates."""
        self._console = console
        self._live = None if plain else Live(console=console, auto_refresh=False, transient=True)
        self._next_line_at = 0.0

    def show(self, state: State) -> None:
        """Show the current state."""
        phase = "sending" if state.sent_at is None else "waiting for delivery"
        if self._live is not None:
            self._live.update(_table(state, title=f"{phase} (Ctrl-C stops)"), refresh=True)
        elif state.now >= self._next_line_at:
            self._next_line_at = state.now + LINE_INTERVAL
            counts = state.counts
            self._console.print(
                f"{state.now - state.started_at:5.1f} s  {phase}: accepted {counts.accepted:,}"
                f"  rejected {counts.rejected.total():,}  waiting {state.waiting:,}"
                f"  delivered {state.ledger('delivered'):,}  calls {state.calls:,}"
                f"  events per call {state.sandbox_stats.get('events_per_call', 0):,.0f}",
                soft_wrap=True,
            )

    def close(self) -> None:
        """Remove the table, and show no further state."""
        if self._live is not None:
            self._live.stop()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
