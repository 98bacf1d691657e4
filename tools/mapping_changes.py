"""Prints what the mapping sends for the cases of the tests, before and after a change: a table for each group of rules.

    python -m tools.mapping_changes [--before CHECKOUT] [--changed]

The cases are those of `tests/mapping/data/normalisation_cases.json` and `event_cases.json`. CHECKOUT is a folder with
another version of the project, which is asked for the same cases in a process of its own; settings that it does not
know are left out. `--changed` leaves out the cases that are sent as before in both dialects. A cell is empty where the
case is about the other dialect only. `tools.command_changes` has the import and the faults of settings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from pydantic import ValidationError

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.mapping.explain import explain
from gateway.model import Dialect, JsonObject, Rejection

DATA = Path(__file__).parent.parent / "tests/mapping/data"
NOW = 1_795_000_000
DIALECTS = (Dialect.CONVERSIONS, Dialect.OFFLINE)
TRAITS = {"first_name": "firstName", "last_name": "lastName"}
BASE: JsonObject = {"type": "track", "event": "Order Completed", "userId": "u-1", "messageId": "m-1"}
"""What the events of `event_cases.json` have in common; the table leaves it out."""
STANDARD_EVENTS = ("AddToCart", "CompleteRegistration", "InitiateCheckout", "Lead", "Other", "Purchase", "ViewContent")
HASHES = {
    "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f": "62a1…f62f",
    **{letter * 64: f"{letter}…{letter}" for letter in "abcdef0123456789"},
}
"""Hashes that repeat in the cases, and how the table shows them."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "1. Phone numbers": ("phone:",),
    "2. Values hashed by Meta's Parameter Builder": ("hashed by Meta's Parameter Builder",),
    "3. Normalisation": ("Unicode:", "zip:", "state:", "country:", "gender:", "email:", "birthday:", "external ID:"),
    "4. Variants": ("variants:",),
    "5. Fields of the event": (
        *("fbp and fbc in properties", "order of event_id", "search_string", "delivery_category", "keys of the event"),
    ),
    "6. Stages of leads from a CRM": ("stages of a CRM",),
    "7. Events that Meta would refuse": ("events that Meta would refuse",),
    "8. Consent": ("consent of", "switches in integrations"),
    "9. Personal values": ("personal",),
    "10. Limited data use": ("limited data use",),
    "11. Defaults, as senders to RudderStack expect them": (
        *("value", "a single product", "external ID with hashing off", "upload tag"),
    ),
}
"""By heading, the beginnings of the rules of its cases."""

Row: TypeAlias = list[str | None]
"""What is sent in each dialect; None where the case does not apply."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the data files."""

    rule: str
    given: Any
    """What the table shows as input."""
    settings: JsonObject
    data: JsonObject

    @property
    def is_of_event(self) -> bool:
        """Whether it is about the whole event, not about one value."""
        return "event" in self.data

    @property
    def group(self) -> str:
        """The heading of its table."""
        found = [heading for heading, rules in GROUPS.items() if self.rule.startswith(rules)]
        if len(found) != 1:
            raise LookupError(f"the rule {self.rule!r} is in {len(found)} groups of tools/mapping_changes.py")
        return found[0]


def read_cases() -> list[Case]:
    """The cases of both files."""
    values: Sequence[JsonObject] = json.loads((DATA / "normalisation_cases.json").read_text("utf-8"))
    events: Sequence[JsonObject] = json.loads((DATA / "event_cases.json").read_text("utf-8"))["cases"]
    cases = [
        Case(data["rule"], {data["field"]: data["value"], **data.get("traits", {})}, data.get("settings", {}), data)
        for data in values
    ]
    for data in events:
        event = {name: value for name, value in data["event"].items() if value != BASE.get(name)}
        cases.append(Case(data["rule"], event, data.get("settings", {}), data))
    return cases


def sent(case: Case) -> Row:
    """What this version of the project sends for a case."""
    row: Row = []
    for dialect in DIALECTS:
        if case.is_of_event and dialect not in case.data["api"]:
            row.append(None)
            continue
        known = {name: value for name, value in case.settings.items() if name in DestinationSettings.model_fields}
        settings = {"api": dialect, "access_token": "-"} | known
        settings["standard_to_event_sets"] = {standard: ["1001"] for standard in STANDARD_EVENTS}
        try:
            mapper = compile_mapper("store", DestinationSettings.model_validate(settings))
        except ValidationError:
            row.append("*settings refused*")
        else:
            row.append(_of_event(mapper, case.data) if case.is_of_event else _of_value(mapper, case.data))
    return row


def _of_event(mapper: Mapper, case: JsonObject) -> str:
    """Why nothing is sent, or the values that the case looks at."""
    mapped: Any = mapper.map(case["event"], NOW)
    if not isinstance(mapped, list):
        return f"*{mapped.code if isinstance(mapped, Rejection) else mapped or 'ignored'}*"
    if "outcome" in case:
        return "*sent*"
    body = orjson.loads(mapped[0].body)
    holders = {
        "identity": body.get("user_data") or body.get("match_keys"),
        "sale": body.get("custom_data") if "user_data" in body else body,
        "lane": mapped[0].lane._asdict(),
    }
    shown = ((path, _at(holders | body, path)) for path in case["expected"])
    return ", ".join(f"{path} {'*absent*' if value is None else _code(value)}" for path, value in shown)


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else value[int(key)] if isinstance(value, list) else None
    return value


def _of_value(mapper: Mapper, case: JsonObject) -> str:
    """The normalised text of what is sent for one value: two forms if two hashes are sent."""
    field, value = case["field"], case["value"]
    event: JsonObject = {"type": "track", "event": "Order Completed", "traits": case.get("traits", {})}
    event |= {"userId": value} if field == "external_id" else {}
    event["traits"] = event["traits"] | ({} if field == "external_id" else {TRAITS.get(field, field): value})
    event["context"] = {"externalId": [{"type": "LeadId", "id": "1"}]}  # so that no event is without an identity
    [step] = [step for step in explain(mapper, event, NOW).steps if step.field == field]
    if step.sent is None:
        return "*dropped*"
    return step.normalised or "*as it is*"


def rows_of_checkout(checkout: Path) -> list[Row]:
    """What another version of the project sends for the cases of this one."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, str(Path(__file__).resolve()), "--rows"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows: list[Row] = json.loads(done.stdout)
    return rows


def tables(cases: Sequence[Case], before: Sequence[Row] | None, *, only_changed: bool) -> Iterator[str]:
    """The lines of all tables."""
    after = [sent(case) for case in cases]
    for heading in GROUPS:
        numbers = [number for number, case in enumerate(cases) if case.group == heading]
        yield from (f"## {heading}", "")
        if before is not None:
            changed = [number for number in numbers if before[number] != after[number]]
            yield from (f"{len(changed)} of {len(numbers)} cases are sent in another way than before.", "")
            numbers = changed if only_changed else numbers
        yield "| rule | input | settings | conversions before | conversions after | offline before | offline after |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for number in numbers:
            case = cases[number]
            old = before[number] if before is not None else [None, None]
            cells = [case.rule, _code(case.given), _code(case.settings) if case.settings else ""]
            for dialect in range(len(DIALECTS)):
                cells += [old[dialect] or "", after[number][dialect] or ""]
            yield f"| {' | '.join(_short(cell).replace('|', '&#124;') for cell in cells)} |"
        yield ""


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _short(text: str) -> str:
    for digits, shown in HASHES.items():
        text = text.replace(digits, shown)
    return text


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tools.mapping_changes", description=__doc__)
    parser.add_argument("--before", type=Path, help="folder with the project before the change")
    parser.add_argument("--changed", action="store_true", help="only cases that are sent in another way")
    parser.add_argument("--rows", action="store_true", help="print only what is sent, as JSON")
    arguments = parser.parse_args()
    cases = read_cases()
    if arguments.rows:
        print(json.dumps([sent(case) for case in cases]))
        return
    before = rows_of_checkout(arguments.before) if arguments.before is not None else None
    print("\n".join(tables(cases, before, only_changed=arguments.changed)))


if __name__ == "__main__":
    main()
