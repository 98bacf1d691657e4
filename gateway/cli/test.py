"""`gateway test`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    destination_or_exit,
    fail,
    print_json,
    print_line,
    settings_or_exit,
)
from gateway.escaping import printable

if TYPE_CHECKING:
    from gateway.cli.event_tests import EventTest, Result, Run
    from gateway.config import Settings
    from gateway.mapping import Mapper

COLORS = {"+": typer.colors.GREEN, "-": typer.colors.RED}


def run_tests(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Test files (TOML, or JSON).")],
    config: ConfigPath = DEFAULT_CONFIG,
    update: Annotated[
        bool, typer.Option("--update", help="Write what the settings give now into the files as expected.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test the settings with events and their expected uploads or rejections.

    A test file has a time `now`, and tests with an event and what is expected of it: `uploads`, a `rejection`, or
    `not_sent`. A difference is printed as a diff. Nothing is sent. Exit status 1 if a test fails, 2 if a file cannot be
    used.
    """
    settings = settings_or_exit(config)
    from gateway.cli.event_tests import TestFileError, read_tests, run_test, update_file

    mappers: dict[str, Mapper] = {}
    failed = passed = 0
    try:
        read = [(path, read_tests(path)) for path in files]
        for path, tests in read:
            runs = [run_test(each, _mapper(settings, each, mappers)) for each in tests]
            if update:
                count = update_file(path, runs)
                print_line(f"{path}: {count} of {len(runs)} expectations written")
                continue
            for run in runs:
                passed, failed = passed + run.passed, failed + (not run.passed)
                if as_json:
                    print_json(_as_json(path, run))
                else:
                    _print(path, run)
    except TestFileError as error:
        fail(str(error), 2)
    except OSError as error:
        fail(f"{error.filename}: cannot be written: {error.strerror}", 2)
    if not as_json and not update:
        print_line(f"{passed} passed, {failed} failed")
    raise SystemExit(1 if failed else 0)


def _mapper(settings: Settings, test: EventTest, mappers: dict[str, Mapper]) -> Mapper:
    """The mapper for a test; each destination has one, which is compiled when it is first needed."""
    from gateway.mapping import compile_mapper

    if test.destination is None and len(settings.destinations) > 1:
        fail(f"destination: required in the test file, since there are several: {', '.join(settings.destinations)}", 2)
    if test.destination is not None and test.destination not in settings.destinations:
        fail(f"destination: unknown {test.destination!r}; expected one of {', '.join(settings.destinations)}", 2)
    name, destination = destination_or_exit(settings, test.destination)
    if name not in mappers:
        mappers[name] = compile_mapper(name, destination, settings.server.max_event_bytes)
    return mappers[name]


def _as_json(path: Path, run: Run) -> dict[str, Any]:
    return {
        "file": str(path),
        "name": run.test.name,
        "passed": run.passed,
        "expected": run.expected,
        "actual": run.actual,
        "note": run.note,
    }


def _print(path: Path, run: Run) -> None:
    print_line(f"{'ok' if run.passed else 'FAILED':<7} {path.name}: {run.test.name}")
    if run.passed:
        return
    if run.expected is None:
        print_line("        nothing is expected yet; write it with --update")
    for line in difflib.unified_diff(_lines(run.expected), _lines(run.actual), "expected", "actual", lineterm=""):
        typer.secho(f"        {printable(line)}", fg=COLORS.get(line[0]))
    if run.note:
        print_line(f"        rejected: {run.note}")


def _lines(result: Result | None) -> list[str]:
    """A result as lines of JSON, for a diff."""
    return [] if result is None else json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
