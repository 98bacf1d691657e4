"""Shows a preview and the progress of an import on a terminal, or as lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from gateway.escaping import printable
from gateway.importer.backfill import Observation
from gateway.importer.plan import Plan
from gateway.importer.preview import Preview
from gateway.importer.progress import Progress as ImportProgress

LINE_SECONDS = 10.0
"""Seconds between two lines where there is no terminal."""
MAX_LISTED = 12
"""Names in a list."""
MAX_NAME = 60
"""Characters of a name. The names are in the file, so they may be of any length."""


def preview_lines(plan: Plan, preview: Preview) -> Iterator[str]:
    """What the first rows of a file would become, as lines."""
    rejected = preview.rejections.total()
    counts = f"{preview.sent} would be sent, {preview.skipped} skipped, {rejected} rejected"
    yield f"{plan.name}: the first {preview.rows} rows: {counts}"
    if plan.recognised and plan.recognised.export:
        yield f"  recognised as: {plan.recognised.export}"
    if plan.settings_file:
        yield f"  settings: {plan.settings_file}"
    for field, columns in plan.settings.columns.items():
        yield f"  {field:<18} from {_listed(columns)}"
    if plan.unused:
        yield f"  not sent: {_listed(plan.unused)}"
    for column, values in plan.settings.only.items():
        yield f"  only rows with {_listed([column])}: {_listed(values)}"
    settings = plan.settings
    known = {"time zone": settings.time_zone, "date order": settings.date_order, "decimal": settings.decimal}
    if any(known.values()):
        yield "  " + ", ".join(f"{name}: {value}" for name, value in known.items() if value)
    yield f"  events: {_listed([f'{name} ({count})' for name, count in preview.events.most_common()])}"
    for destination, coverage in preview.coverage.items():
        keys = sorted(coverage.items(), key=lambda each: -each[1])
        yield f"  match keys of {destination}: {', '.join(f'{key} {share:.0%}' for key, share in keys) or 'none'}"
    for line, rejection in preview.examples:
        yield f"  line {line}: {rejection.code}: {rejection.message}"
    if rejected > len(preview.examples):
        codes = ", ".join(f"{code} ({count})" for code, count in preview.rejections.most_common())
        yield f"  all rejections: {codes}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(name[:MAX_NAME] for name in names[:MAX_LISTED]) + more


def summary(name: str, progress: ImportProgress) -> str:
    """The counts of an import on one line."""
    return (
        f"{name}: {progress.rows:,} rows: {progress.accepted:,} accepted, {progress.ignored:,} ignored, "
        f"{progress.rejected:,} rejected, {progress.skipped:,} skipped"
    )


class Speed:
    """Rows per second and remaining time of one run."""

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self._started_at = time.monotonic()
        self._first_row = observation.progress.rows
        self._first_share = observation.plan.table.position()

    def describe(self) -> str:
        """Rate and remaining time as a text."""
        seconds = max(time.monotonic() - self._started_at, 0.001)
        rate = (self._observation.progress.rows - self._first_row) / seconds
        share, first = self._observation.plan.table.position(), self._first_share
        if share is None or first is None or share - first < 0.001:
            return f"{rate:,.0f} rows/s"
        left = int(seconds * (1 - share) / (share - first))
        return f"{rate:,.0f} rows/s, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"


@contextmanager
def shown(observation: Observation) -> Iterator[Callable[[], None]]:
    """Show an import on standard error: a bar on a terminal, else a line from time to time."""
    console = Console(stderr=True, highlight=False)
    speed = Speed(observation)
    progress, client = observation.progress, observation.client
    if not console.is_terminal:
        shown_at = time.monotonic()

        def print_line() -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at >= LINE_SECONDS:
                shown_at = time.monotonic()
                waiting = f"; waiting: {client.waiting_for}" if client.waiting_for else ""
                line = f"{summary(observation.plan.name, progress)}; {speed.describe()}{waiting}"
                console.print(printable(line), markup=False, soft_wrap=True)

        yield print_line
        return
    name_column = TextColumn("{task.description}", markup=False)
    columns = (name_column, BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}", markup=False))
    with Progress(*columns, console=console, refresh_per_second=4, get_time=time.monotonic) as bar:
        name = printable(Path(observation.plan.name).name)
        task = bar.add_task(name, total=1.0, text="")

        def update() -> None:
            counts = f"{progress.rows:,} rows, {progress.accepted:,} accepted, {progress.rejected:,} rejected"
            waiting = f"; waiting: {client.waiting_for}" if client.waiting_for else ""
            text = f"{counts}, {speed.describe()}{waiting}"
            bar.update(task, completed=observation.plan.table.position() or 0.0, text=printable(text))

        yield update
        update()
