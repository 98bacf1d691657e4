"""Writes a CSV file of generated sales, with a share of bad rows: `python -m bench.sales_csv --rows 1000000 FILE`.

The names of the columns are those of Meta's offline template. Each row has its own order ID, `o-1` and so on, so that
a test can count the rows that arrived. A bad row is bad in one of several ways (`BAD_ROWS`): some cannot be sent, and
some are rejected by the gateway.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

COLUMNS = (
    *(
        "email",
        "phone",
        "fn",
        "ln",
        "ct",
        "zip",
        "country",
        "event_name",
        "event_time",
        "value",
        "currency",
        "order_id",
    ),
    "notes",
)
FIRST_NAMES = ("Alex", "Maria", "Zoë", "Jürgen", "Ana María", "Wei", "Noor", "Sam")
LAST_NAMES = ("Smith", "García", "Müller", "O'Neil", "Nguyen", "Dubois", "Okafor", "Kim")
CITIES = ("Berlin", "New York", "São Paulo", "Lyon", "Austin", "Leeds")
DAYS = 30
"""The sales are of the last days."""


def _unreadable_time(cells: list[str]) -> str:
    return ",".join([*cells[:8], "yesterday", *cells[9:]])


def _missing_cells(cells: list[str]) -> str:
    return ",".join(cells[:5])


def _open_quote(cells: list[str]) -> str:
    return f'"{",".join(cells)}'


def _unreadable_value(cells: list[str]) -> str:
    return ",".join([*cells[:9], "free", *cells[10:]])


def _no_customer(cells: list[str]) -> str:
    """Rejected by the gateway: a country alone does not say who the customer is."""
    return ",".join([*[""] * 6, *cells[6:]])


BAD_ROWS: Mapping[str, Callable[[list[str]], str]] = {
    "bad_time": _unreadable_time,
    "wrong_columns": _missing_cells,
    "malformed_quotes": _open_quote,
    "bad_value": _unreadable_value,
    "weak_match_keys": _no_customer,
}
"""By rejection code, how a row is spoilt."""


def is_bad(number: int, bad: float) -> bool:
    """Whether the row with this number, from 1, is bad: an even share of all rows."""
    return int(number * bad) > int((number - 1) * bad)


def lines(rows: int, bad: float, seed: int, now: float) -> Iterator[str]:
    """The lines of the file. `bad`: share of bad rows."""
    random = Random(seed)
    spoil = list(BAD_ROWS.values())
    spoilt = 0
    yield ",".join(COLUMNS)
    for number in range(1, rows + 1):
        cells = _cells(number, random, now)
        if is_bad(number, bad):
            yield spoil[spoilt % len(spoil)](cells)
            spoilt += 1
        else:
            yield ",".join(cells)


def _cells(number: int, random: Random, now: float) -> list[str]:
    at = time.gmtime(now - 60 - random.randrange(DAYS * 86_400))
    return [
        f"customer{number}@example.com",
        f"+1 202 555 {random.randrange(10_000):04}",
        random.choice(FIRST_NAMES),
        random.choice(LAST_NAMES),
        random.choice(CITIES),
        f"{random.randrange(100_000):05}",
        "US",
        "Purchase",
        time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
        f"{random.randrange(100, 50_000) / 100:.2f}",
        "USD",
        f"o-{number}",
        '"two\nlines, with a comma"' if number % 50 == 7 else "",
    ]


def write(path: Path, rows: int, bad: float = 0.01, seed: int = 1, now: float | None = None) -> None:
    """Write the file. `now`: unix seconds of the newest sale; default: the current time."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines(rows, bad, seed, time.time() if now is None else now))


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.sales_csv", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)d")
    parser.add_argument("--bad", type=float, default=0.01, help="share of bad rows (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)d")
    arguments = parser.parse_args()
    write(arguments.file, arguments.rows, arguments.bad, arguments.seed)


if __name__ == "__main__":
    main()
