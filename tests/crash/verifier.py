"""The judge of the kill test: a process of its own that knows the evidence and the stand-in, and no gateway code.

It asks: is nothing acknowledged missing, did nothing arrive that was not sent, is what arrived intact, did a fresh
event get through; is nothing both delivered and dead, and does every repeat stem from something that was in flight at a
kill. And it asks whether the rare paths ran at all.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any


def email(number: int) -> str:
    """Of the customer of an event."""
    return f"customer{number}@example.com"


def is_bad(number: int) -> bool:
    """Whether Meta refuses the event."""
    return number % 10 == 7


def main(folder: Path) -> int:
    evidence = json.loads((folder / "evidence.json").read_text())
    with urllib.request.urlopen(f"{evidence['meta']}/_sandbox/events?limit=100000000", timeout=60) as answer:
        kept = json.load(answer)
    arrivals: dict[int, list[float]] = {}
    damaged = []
    for event, call in zip(kept["events"], kept["calls"], strict=True):
        number = int(event["event_id"].removeprefix("m-"))
        arrivals.setdefault(number, []).append(call["at"])
        if not intact(event, number):
            damaged.append(number)
    dead = dead_letters(folder / "spool" / "spool.sqlite")

    acknowledged = set(evidence["acknowledged"])
    unheard = set(evidence["unheard"])
    kills = evidence["kills"]
    deduplicated = {number: times for number, times in arrivals.items() if len(times) > 1}
    faults = {
        "missing": sorted(acknowledged - set(arrivals) - set(dead)),
        "never sent": sorted(number for number in {*arrivals, *dead} if not 0 <= number < evidence["sent"]),
        "damaged": damaged,
        "both delivered and dead": sorted(set(arrivals) & set(dead)),
        "wrongly refused": sorted(number for number in dead if not is_bad(number)),
        "wrongly taken": sorted(number for number in arrivals if is_bad(number)),
        "dead twice without cause": sorted(n for n, count in dead.items() if count > 1 and n not in unheard),
        "repeated without cause": sorted(
            number for number, times in deduplicated.items() if number not in unheard and not all_straddle(times, kills)
        ),
        "not fresh": sorted(number for number in evidence["fresh"] if number not in arrivals and not is_bad(number)),
    }
    recoveries = evidence["log"].count("recovered ")
    verdict = {
        "kills": len(kills),
        "accepted": len(acknowledged),
        "delivered": len(arrivals),
        "dead": len(dead),
        "lost": len(faults["missing"]),
        "deduplicated": len(deduplicated),
        "recoveries": recoveries,
    }
    rare = {"repeats": len(deduplicated), "recoveries": recoveries, "dead letters": len(dead)}
    print(json.dumps(verdict))
    for name, numbers in faults.items():
        if numbers:
            print(f"{name}: {len(numbers)}, such as {numbers[:10]}", file=sys.stderr)
    for name, count in rare.items():
        if not count:
            print(f"the run had no {name}: it proves too little", file=sys.stderr)
    return 1 if any(faults.values()) or not all(rare.values()) else 0


def intact(event: dict[str, Any], number: int) -> bool:
    """Whether it is the event of this number, to the last field."""
    custom = event["custom_data"]
    return bool(
        event["event_name"] == "Purchase"
        and event["user_data"] == {"em": [sha256(email(number).encode()).hexdigest()]}
        and (custom["order_id"], custom["value"], custom["currency"]) == (f"o-{number}", number + 0.5, "EUR")
    )


def all_straddle(times: list[float], kills: list[float]) -> bool:
    """Whether between every two arrivals the gateway was killed. A call under way may still be taken after the kill."""
    pairs = itertools.pairwise(sorted(times))
    return all(any(first - 0.5 <= kill <= second for kill in kills) for first, second in pairs)


def dead_letters(spool: Path) -> dict[int, int]:
    """How often each event is dead, read with a tool that everybody has."""
    counts: dict[int, int] = {}
    with sqlite3.connect(f"file:{spool}?mode=ro", uri=True) as database:
        for (event,) in database.execute("SELECT event FROM dead_letter"):
            number = int(json.loads(event)["event_id"].removeprefix("m-"))
            counts[number] = counts.get(number, 0) + 1
    return counts


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
