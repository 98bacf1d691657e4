"""Builders: files with rows, and the plans and calls that result from them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from gateway.importer.plan import Plan, draft_plan, plan_import
from gateway.importer.rows import Row
from gateway.model import JsonObject, Rejection

HEADER = "email,event_time,value,currency,order_id"


def sale(number: int, **changes: str) -> str:
    """A line of a file with the columns of `HEADER`."""
    cells = {
        "email": f"customer{number}@example.com",
        "event_time": "2026-11-01T10:00:00Z",
        "value": "12.50",
        "currency": "EUR",
        "order_id": f"o-{number}",
        **changes,
    }
    return ",".join(cells.values())


def write(folder: Path, *lines: str, name: str = "sales.csv", header: str = HEADER) -> str:
    """Write a file with a header and lines; its name."""
    path = folder / name
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8", newline="")
    return str(path)


def plan(name: str, **overrides: Any) -> Plan:
    return plan_import(name, overrides, None)


def problems(name: str, **overrides: Any) -> Sequence[str]:
    draft, found = draft_plan(name, overrides, None)
    draft.close()
    return found


def rows(name: str, **overrides: Any) -> list[Row]:
    with closing(draft_plan(name, overrides, None)[0]) as draft:
        return list(draft.rows())


def results(name: str, **overrides: Any) -> list[JsonObject | Rejection | None]:
    """What becomes of each row: its call, its rejection, or None if it is skipped."""
    with closing(plan(name, **overrides)) as planned:
        converted = [planned.converter.convert(row) for row in planned.rows()]
    return [orjson.loads(each) if isinstance(each, bytes) else each for each in converted]


def calls(name: str, **overrides: Any) -> list[JsonObject]:
    """The calls of a file in which every row can be sent."""
    found = results(name, **overrides)
    assert all(isinstance(each, dict) for each in found), found
    return [each for each in found if isinstance(each, dict)]


def codes(name: str, **overrides: Any) -> list[str]:
    """For each row `sent`, `skipped` or the code of its rejection."""
    return [
        each.code if isinstance(each, Rejection) else "skipped" if each is None else "sent"
        for each in results(name, **overrides)
    ]
