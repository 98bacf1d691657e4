"""Verifies the result of the kill test, in a separate process that imports no gateway code.

It reads the evidence file, the events that the Meta sandbox received, and the dead letters. It checks that no
acknowledged event is missing, that every delivered event was sent and is intact, that the events of the last run
arrived, that no event is both delivered and a dead letter, and that every duplicate was in flight at a kill. It also
fails when the run had no duplicates, recovered events or dead letters, because it then did not test those paths.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import sys
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any


def email(number: int) -> str:
    """Return the email address of the customer of an event."""
    return f"customer{number}@example.com"


def is_rejected(number: int) -> bool:
    """Whether Meta rejects the event."""
    return number % 10 == 7


def main(folder: Path) -> int:
    evidence = json.loads((folder / "evidence.json").read_text())
    with urllib.request.urlopen(f"{evidence['meta']}/_sandbox/events?limit=100000000", timeout=60) as response:
        received = json.load(response)
    arrivals: dict[int, list[float]] = {}
    damaged = []
    for event, call in zip(received["events"], received["calls"], strict=True):
        number = int(event["event_id"].removeprefix("m-"))
        arrivals.setdefault(number, []).append(call["at"])
        if not is_intact(event, number):
            damaged.append(number)
    dead = dead_letters(folder / "spool" / "spool.sqlite")

    acknowledged = set(evidence["acknowledged"])
    unanswered = set(evidence["unanswered"])
    kills = evidence["kills"]
    duplicates = {number: times for number, times in arrivals.items() if len(times) > 1}
    faults = {
        "missing": sorted(acknowledged - set(arrivals) - set(dead)),
        "never sent": sorted(number for number in {*arrivals, *dead} if not 0 <= number < evidence["sent"]),
        "damaged": damaged,
        "both delivered and dead": sorted(set(arrivals) & set(dead)),
        "wrongly rejected": sorted(number for number in dead if not is_rejected(number)),
        "wrongly delivered": sorted(number for number in arrivals if is_rejected(number)),
        "duplicate dead letters without cause": sorted(
            n for n, count in dead.items() if count > 1 and n not in unanswered
        ),
        "duplicates without cause": sorted(
            number
            for number, times in duplicates.items()
            if number not in unanswered and not kill_between_each(times, kills)
        ),
        "missing from the last run": sorted(
            number for number in evidence["last_run"] if number not in arrivals and not is_rejected(number)
        ),
    }
    recoveries = len(re.findall(r"recovered \d+ events", evidence["log"]))
    counts = {
        "kills": len(kills),
        "accepted": len(acknowledged),
        "delivered": len(arrivals),
        "dead": len(dead),
        "lost": len(faults["missing"]),
        "duplicates": len(duplicates),
        "recoveries": recoveries,
    }
    rare = {"duplicates": len(duplicates), "recoveries": recoveries, "dead letters": len(dead)}
    print(json.dumps(counts))
    for name, numbers in faults.items():
        if numbers:
            print(f"{name}: {len(numbers)}, such as {numbers[:10]}", file=sys.stderr)
    for name, count in rare.items():
        if not count:
            print(f"the run had no {name} and did not test that path; use more kills", file=sys.stderr)
    return 1 if any(faults.values()) or not all(rare.values()) else 0


def is_intact(event: dict[str, Any], number: int) -> bool:
    """Whether every field of a delivered event matches the event that was sent with this number."""
    custom = event["custom_data"]
    return bool(
        event["event_name"] == "Purchase"
        and event["user_data"] == {"em": [sha256(email(number).encode()).hexdigest()]}
        and (custom["order_id"], custom["value"], custom["currency"]) == (f"o-{number}", number + 0.5, "EUR")
    )


def kill_between_each(times: list[float], kills: list[float]) -> bool:
    """Whether there was a kill between every two arrivals. A call in flight may still arrive shortly after the kill."""
    pairs = itertools.pairwise(sorted(times))
    return all(any(first - 0.5 <= kill <= second for kill in kills) for first, second in pairs)


def dead_letters(spool: Path) -> dict[int, int]:
    """Return the number of dead letters of each event, read with Python's own sqlite3 module."""
    counts: dict[int, int] = {}
    with sqlite3.connect(f"file:{spool}?mode=ro", uri=True) as database:
        for (event,) in database.execute("SELECT event FROM dead_letter"):
            number = int(json.loads(event)["event_id"].removeprefix("m-"))
            counts[number] = counts.get(number, 0) + 1
    return counts


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
