"""Prints the cases of normalisation as a table: the value, and what is sent for it, before and after a change.

    python -m tools.case_table [--before CHECKOUT]

The cases are those of `tests/mapping/data/normalisation_cases.json`. CHECKOUT is a folder with another version of the
project, which is asked for the same cases. Settings that it does not know are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.config import DestinationSettings
from gateway.mapping import compile_mapper
from gateway.mapping.explain import explain
from gateway.model import Dialect, JsonObject

CASES = Path(__file__).parent.parent / "tests/mapping/data/normalisation_cases.json"
TRAITS = {"first_name": "firstName", "last_name": "lastName"}
NOW = 1_795_000_000


def sent(case: JsonObject, dialect: Dialect) -> str:
    """The normalised text of what is sent for a case. In `conversions`, two forms if two hashes are sent."""
    field, value = case["field"], case["value"]
    known = {
        name: given for name, given in case.get("settings", {}).items() if name in DestinationSettings.model_fields
    }
    settings = {"api": dialect, "access_token": "-", "standard_to_event_sets": {"Purchase": ["1"]}} | known
    mapper = compile_mapper("store", DestinationSettings.model_validate(settings))
    event: JsonObject = {"type": "track", "event": "Order Completed", "traits": case.get("traits", {})}
    event |= {"userId": value} if field == "external_id" else {}
    event["traits"] = event["traits"] | ({} if field == "external_id" else {TRAITS.get(field, field): value})
    event["context"] = {"externalId": [{"type": "LeadId", "id": "1"}]}  # so that no event is without an identity
    [step] = [step for step in explain(mapper, event, NOW).steps if step.field == field]
    if step.sent is None:
        return "*dropped*"
    return step.normalised or "*as it is*"


def rows() -> list[list[str]]:
    """What is sent for each case, in both dialects."""
    cases: Sequence[JsonObject] = json.loads(CASES.read_text("utf-8"))
    return [[sent(case, dialect) for dialect in (Dialect.CONVERSIONS, Dialect.OFFLINE)] for case in cases]


def table(before: Sequence[Sequence[str]] | None) -> Iterator[str]:
    """The lines of the table."""
    cases: Sequence[JsonObject] = json.loads(CASES.read_text("utf-8"))
    after = rows()
    yield "| rule | value | with | conversions before | conversions after | offline before | offline after |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for number, case in enumerate(cases):
        given = case.get("traits", {}) | case.get("settings", {})
        context = ", ".join(f"{name} {_cell(value)}" for name, value in given.items())
        old = before[number] if before is not None else ["", ""]
        columns = [old[0], after[number][0], old[1], after[number][1]]
        yield f"| {case['rule']} | {_cell(case['value'])} | {context} | {' | '.join(map(_short, columns))} |"


def _cell(value: Any) -> str:
    return f"`{_short(json.dumps(value, ensure_ascii=False))}`"


def _short(text: str) -> str:
    return text.replace("62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f", "62a1…f62f")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.case_table", description=__doc__)
    parser.add_argument("--before", type=Path, help="folder with the project before the change")
    parser.add_argument("--rows", action="store_true", help="print only what is sent, as JSON")
    arguments = parser.parse_args()
    if arguments.rows:
        print(json.dumps(rows()))
        return
    before = None
    if arguments.before is not None:
        environment = os.environ | {"PYTHONPATH": str(arguments.before.resolve())}
        command = [sys.executable, str(Path(__file__).resolve()), "--rows"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        before = json.loads(done.stdout)
    print("\n".join(table(before)))


if __name__ == "__main__":
    main()
