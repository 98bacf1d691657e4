"""`gateway status`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    NO_CONNECTION,
    AdminError,
    AsJson,
    ConfigPath,
    Url,
    print_json,
    print_line,
    read_admin,
    reading_answer,
    settings_or_exit,
    try_admin,
)
from gateway.escaping import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from gateway.cli.status_report import Key, Rates, Report
    from gateway.config import Settings
    from gateway.model import JsonObject

INTERVAL = 1.0
"""Seconds between two reads while the status is watched."""
TIMEOUT = 10.0
"""Seconds for the answer to one read."""
WIDTH = 140
"""Columns of the table when the output is not a terminal."""
FULL_WIDTH = 95
"""Columns that the whole table needs."""
STYLES = {"stopped": "bold red", "orphaned": "red", "late": "yellow", "limited": "yellow"}
"""By state of a dataset; the others have none."""


def status(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show the status every second until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what arrived, what waits, and what needs attention.

    Prints the counts since the start and that they add up; for each dataset its state, its rates of the last five
    minutes (of the last ten seconds with --watch), the waiting events and the age of the oldest; the reason and the
    next action where uploads are stopped or late; and why events were rejected. Exit status 1 if uploads are stopped or
    the gateway takes no events, so that a script can ask.
    """
    settings = settings_or_exit(config) if url is None else None
    if watch:
        _watch(settings, url, as_json=as_json)
        return
    answer = read_admin(settings, url, "/status", {})
    with reading_answer():
        report = _report(answer, settings, _recent_rates(settings, url, answer))
        if as_json:
            from gateway.cli.status_report import as_json as report_as_json

            print_json(report_as_json(report), indent=2)
        else:
            _print(report)
        raise SystemExit(0 if _is_well(answer) else 1)


def _is_well(answer: JsonObject) -> bool:
    return bool(answer["ready"]) and not any(lane["blocked"] for lane in answer["lanes"])


def _report(answer: JsonObject, settings: Settings | None, rates: Mapping[Key, Rates]) -> Report:
    from gateway.cli.status_report import report_of
    from gateway.config import Settings

    # Without settings, only datasets that have had events are known.
    return report_of(answer, settings or Settings.model_construct(sources={}, destinations={}), rates)


def _recent_rates(settings: Settings | None, url: str | None, answer: JsonObject) -> Mapping[Key, Rates]:
    """The rates of the last minutes; empty if the gateway keeps no history, or has just started."""
    from gateway.cli.status_report import HISTORY_SECONDS, rates_of_history

    now = answer["started_at"] + answer["uptime_seconds"]
    query = {"metric": "accepted,delivered", "since": f"{now - HISTORY_SECONDS:.0f}", "until": f"{now:.0f}"}
    try:
        page = try_admin(settings, url, "GET", "/history", query, TIMEOUT)
    except AdminError:
        return {}
    return rates_of_history(page) if page is not None else {}


def _print(report: Report) -> None:
    from rich.console import Console

    from gateway.cli.status_report import notes

    width = None if Console().is_terminal else WIDTH
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    for line in (report.head, report.sentence, ""):
        print_line(line)
    console.print(_table(report, console.width))
    for line in notes(report):
        print_line(line)


def _table(report: Report, width: int) -> Table:
    """The datasets, those that need attention first. A terminal that is too narrow for all columns gets some."""
    from rich.table import Table
    from rich.text import Text

    from gateway.cli.status_report import HEADINGS, NARROW_HEADINGS, rows

    headings = HEADINGS if width >= FULL_WIDTH else NARROW_HEADINGS
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        is_text = heading in {"destination", "dataset", "state"}
        table.add_column(heading, overflow="fold", justify="left" if is_text else "right")
    for row, dataset in zip(rows(report), report.datasets, strict=True):
        cells = (Text(printable(cell)) for heading, cell in zip(HEADINGS, row, strict=True) if heading in headings)
        table.add_row(*cells, style=STYLES.get(dataset.state))
    return table


def _drawn(report: Report, width: int) -> Group:
    """The whole report, to be drawn again and again."""
    from rich.console import Group
    from rich.text import Text

    from gateway.cli.status_report import notes

    head, sentence = Text(printable(report.head)), Text(printable(report.sentence), style="bold")
    return Group(head, sentence, Text(), _table(report, width), *(Text(printable(line)) for line in notes(report)))


def _watch(settings: Settings | None, url: str | None, *, as_json: bool) -> None:
    """Show the status every second until Ctrl-C: as a table that is drawn again, or as lines without a terminal."""
    from contextlib import ExitStack

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from gateway.cli.status_report import RateMeter, one_line
    from gateway.cli.status_report import as_json as report_as_json

    console = Console(markup=False, emoji=False, highlight=False)
    meter = RateMeter()
    with ExitStack() as stack:
        live = None
        if console.is_terminal and not as_json:
            live = stack.enter_context(Live(console=console, auto_refresh=False, vertical_overflow="crop"))
        try:
            while True:
                answer, failure = _read(settings, url)
                if answer is None:
                    if live is not None:
                        live.update(Text(f"{printable(failure)} Trying again; Ctrl-C ends."), refresh=True)
                    else:
                        print_line(failure, error=True)
                else:
                    with reading_answer():
                        report = _report(answer, settings, meter.add(answer))
                        if live is not None:
                            live.update(_drawn(report, console.width), refresh=True)
                        elif as_json:
                            print_json(report_as_json(report))
                        else:
                            print_line(one_line(report))
                time.sleep(INTERVAL)
        except KeyboardInterrupt:
            return


def _read(settings: Settings | None, url: str | None) -> tuple[JsonObject | None, str]:
    """The answer of `/status`; or None, and why there is none."""
    try:
        return try_admin(settings, url, "GET", "/status", {}, TIMEOUT), NO_CONNECTION
    except AdminError as error:
        return None, str(error)
