"""`python -m bench`: every bench after the other, as tables, and as JSON with `--json FILE`."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=["mapper", "http", "backlog"], help="default: all")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each measurement (default: %(default)g)")
    parser.add_argument("--total", type=int, default=100_000, help="events of the run until delivered")
    parser.add_argument("--backlog", type=int, default=2_000_000, help="events that wait (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=1, help="of the generated sales")
    parser.add_argument("--engine", choices=["sqlite", "memory"], default="sqlite", help="of the spool")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine(), "seed": asked.seed}
    console = Console()
    if asked.only in {None, "mapper"}:
        from bench import mapper  # noqa: PLC0415 (only what was asked for)

        figures["mapper"] = mapper.run()
        console.print(mapper.table(figures["mapper"]))
    if asked.only in {None, "http"}:
        from bench import http  # noqa: PLC0415

        figures["http"] = http.run(seconds=asked.seconds, total=asked.total, seed=asked.seed, engine=asked.engine)
        console.print(http_table(figures["http"]))
    if asked.only in {None, "backlog"}:
        from bench import backlog  # noqa: PLC0415

        figures["backlog"] = backlog.run(events=asked.backlog, seconds=asked.seconds)
        console.print(backlog.table(figures["backlog"]))
    if asked.json:
        asked.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}


def http_table(figures: dict[str, Any]) -> Table:
    """The HTTP bench as a table."""
    delivery = figures["delivery"]
    table = Table(
        title="The gateway under load",
        caption=(
            f"accepted {delivery['accepted']} = delivered {delivery['delivered']} + dead-lettered "
            f"{delivery['dead_lettered']}; {delivery['events_per_batch']:.0f} events a batch; "
            f"resident {delivery['gateway_resident_bytes'] / 2**20:.0f} MiB"
        ),
    )
    for heading in ("what", "events/s", "floor", "floor events/s", "ratio", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading in {"what", "floor"} else "right")
    for row in figures["rows"]:
        table.add_row(
            row["what"],
            f"{row['events_per_second']:,.0f}",
            row["floor"],
            f"{row['floor_events_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
