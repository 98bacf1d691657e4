"""Compares the match keys that the gateway sends with those of Meta's own libraries, and writes the page about it.

    npm install --prefix FOLDER capi-param-builder-nodejs facebook-nodejs-business-sdk
    python -m pip install --target FOLDER/python facebook_business
    python -m tools.compare_with_meta FOLDER > docs/comparison-with-meta.md

FOLDER is outside the project. Node.js is needed. The values are generated (the same in every run), and taken from the
Parameter Builder's own tests. A disagreement of no known class is printed as an error, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.compare_with_meta.disagreements import DISAGREEMENTS, Comparison
from tools.compare_with_meta.foreign_calling_codes import readings
from tools.compare_with_meta.gateway_hashes import sent_by_checkout, sent_by_gateway
from tools.compare_with_meta.generated_values import Given, values
from tools.compare_with_meta.libraries import TITLES, MetaLibraries
from tools.compare_with_meta.page import Report, Results, page


def compare(given: Sequence[Given], libraries: MetaLibraries, checkout: Path | None) -> Results:
    """Ask the gateway, its earlier version in another folder if there is one, and the libraries."""
    before = sent_by_checkout(given, checkout) if checkout is not None else None
    return Results(given, sent_by_gateway(given), before, libraries.sent(given))


def _described(each: Comparison) -> str:
    kind = each.kind.value if each.kind is not None else "the same"
    country = f" in {each.given.country}" if each.given.country else ""
    return f"{TITLES[each.oracle]}: {each.given.field} {each.given.value!r}{country}: {kind}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page. The exit code is 1 if there is a disagreement of no known class."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare_with_meta",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="folder with Meta's libraries")
    parser.add_argument("--values", type=int, default=27_000, help="number of generated values (default: 27000)")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="folder with an earlier version of the project")
    parser.add_argument(
        "--before-is", default="an earlier version", metavar="TEXT", help="how the page calls that version"
    )
    options = parser.parse_args(arguments)
    libraries = MetaLibraries(options.folder)
    report = Report(
        libraries.versions(),
        compare(list(values(options.values)), libraries, options.before),
        compare(libraries.test_values(), libraries, options.before),
        sent_by_gateway([each.example for each in DISAGREEMENTS]),
        list(readings()),
    )
    print(page(report, options.before_is), end="")
    unexplained = report.unexplained()
    for each in unexplained:
        print(f"of no known class: {_described(each)}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
