"""Prints what `import-rudderstack` and `check` say about example files, before and after a change, as tables.

    python -m tools.command_changes [--before CHECKOUT]

It is the counterpart of `tools.mapping_changes` for the points that are not about single events: the import of
RudderStack's exports (those of `tests/e2e/data`) and faults of the settings. CHECKOUT is a folder with another version
of the project.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.model import Dialect

PROJECT = Path(__file__).parent.parent
EXPORTS = ("rudderstack_offline.json", "rudderstack_conversions.json")
SETTINGS = """\
[sources.web]
write_key = "key"
destinations = ["store"]

[destinations.store]
api = "{api}"
access_token = "token"
standard_to_event_sets = {{ {event_sets} }}
{more}
"""
PURCHASES = 'Purchase = ["1001"]'
FAULTS: Mapping[str, tuple[str, str]] = {
    "a misspelt standard event has an event set": ('Purchas = ["1001"]', ""),
    "an event is mapped to a misspelt standard event": (PURCHASES, 'events_to_standard = { Sold = ["Purchse"] }'),
    "an event is mapped to a standard event without an event set": (
        PURCHASES,
        'events_to_standard = { Signup = ["Lead"] }',
    ),
    "the ID of an event set is not digits": ('Purchase = ["my-pixel"]', ""),
    "both servers have the same port": (PURCHASES, "[server]\nport = 8080\n[admin]\nport = 8080"),
}
"""By what is wrong, the event sets and more lines of the settings."""


def imported(checkout: Path, export: Path) -> str:
    """The destination that `import-rudderstack` prints, or its error."""
    done = _gateway(checkout, "import-rudderstack", str(export))
    if done.returncode != 0:
        return f"*{done.stderr.strip().replace(str(export), export.name)}*"
    [destination] = tomllib.loads(done.stdout)["destinations"].values()
    return f"`{json.dumps(destination, ensure_ascii=False)}`"


def checked(checkout: Path, fault: str, dialect: Dialect) -> str:
    """What `check` says about settings with a fault: its errors and warnings, and nothing if it finds none."""
    event_sets, more = FAULTS[fault]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.toml"
        file.write_text(SETTINGS.format(api=dialect.value, event_sets=event_sets, more=more))
        done = _gateway(checkout, "check", "--config", str(file))
    lines = [line.removeprefix(f"{file}: ") for line in done.stderr.splitlines() if not line.startswith("the settings")]
    # The warning about the dialect is in every answer for `offline`.
    found = [line for line in lines if not line.startswith("warning: destinations.store.api is")]
    return "; ".join(found) or "*valid*"


def _gateway(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "gateway", *arguments],
        env=os.environ | {"PYTHONPATH": str(checkout.resolve()), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )


def tables(checkouts: Sequence[Path]) -> Iterator[str]:
    """The lines of both tables.

    Args:
        checkouts: folders with the versions of the project, the latest last.
    """
    versions = ["before", "after"] if len(checkouts) > 1 else ["after"]
    yield from ("## 12. Import of a destination of RudderStack", "")
    yield from _row(["export", *versions])
    yield from _row(["---"] * (1 + len(versions)))
    for export in EXPORTS:
        path = PROJECT / "tests/e2e/data" / export
        yield from _row([export, *(imported(checkout, path) for checkout in checkouts)])
    yield from ("", "## 14. Faults of the settings", "")
    yield from _row(["fault", *(f"{dialect.value} {version}" for dialect in Dialect for version in versions)])
    yield from _row(["---"] * (1 + len(Dialect) * len(versions)))
    for fault in FAULTS:
        yield from _row([fault, *(checked(checkout, fault, dialect) for dialect in Dialect for checkout in checkouts)])


def _row(cells: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tools.command_changes", description=__doc__)
    parser.add_argument("--before", type=Path, help="folder with the project before the change")
    before = parser.parse_args().before
    print("\n".join(tables([PROJECT] if before is None else [before, PROJECT])))


if __name__ == "__main__":
    main()
