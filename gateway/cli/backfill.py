"""`gateway backfill`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, check_http_url, fail, print_line
from gateway.importer.choices import DateOrder, Decimal, FileFormat

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.importer.backfill import Target
    from gateway.importer.plan import Plan
    from gateway.importer.progress import Progress
    from gateway.mapping import Mapper

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_FILES = 500
"""Files of one command, which are all open at the same time."""
NOT_CONFIRMED = 2
"""Exit status when nothing was sent because nobody confirmed it."""
INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM, as shells use it."""


def backfill(
    files: Annotated[list[str], typer.Argument(help="Files or patterns such as 'sales-*.csv'; - reads stdin.")],
    url: Annotated[
        str | None, typer.Option(help=f"URL of the gateway. Default: from the settings, else {DEFAULT_URL}.")
    ] = None,
    write_key: Annotated[
        str | None,
        typer.Option(envvar="GATEWAY_WRITE_KEY", help="Write key. Default: of the only source in the settings."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    columns: Annotated[
        Path | None, typer.Option(help="Import settings (TOML). Default: FILE.toml, if it exists.")
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Write import settings with guesses for the file, and send nothing.")
    ] = False,
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", help="Format. Default: from the name of the file.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Character between the fields of a CSV file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Text encoding, such as cp1252. Default: UTF-8.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Time zone of times without a UTC offset.")] = None,
    date_order: Annotated[DateOrder | None, typer.Option(help="Order in dates such as 03/04/2026.")] = None,
    decimal: Annotated[Decimal | None, typer.Option(help="Decimal separator of amounts.")] = None,
    rate: Annotated[float | None, typer.Option(help="Maximum number of rows per second.", min=0.1)] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget the progress of an earlier run and send all rows again.")
    ] = False,
) -> None:
    """Import files of sales into a running gateway, each row once.

    Reads CSV, TSV, NDJSON and Parquet, also compressed with gzip or zstd. Shows how the first rows would be mapped and
    asks before it sends. Progress is kept in FILE.backfill: after an interruption, the same command continues. Rows
    that cannot be sent are written to FILE.rejected.csv. Exit status 1 if a row is rejected, 2 if nothing was sent
    because it was not confirmed.
    """
    from gateway.importer.plan import draft_plan, plan_import
    from gateway.importer.starter import starter_path, write_starter
    from gateway.model import GatewayError

    given = {
        "format": file_format,
        "delimiter": "\t" if delimiter == "\\t" else delimiter,
        "encoding": encoding,
        "time_zone": time_zone,
        "date_order": date_order,
        "decimal": decimal,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        names = _names(files)
        if init:
            if len(names) > 1 or names == ["-"]:
                fail("--init: expected one file", 2)
            path = starter_path(names[0], columns)
            # The file is read as if there were no settings yet.
            plan, problems = draft_plan(names[0], overrides, None)
            with closing(plan):
                write_starter(path, plan, problems)
            print_line(f"wrote {path}; check it, then run gateway backfill {names[0]}")
            for problem in problems:
                print_line(f"to decide: {problem}")
            return
        settings = _settings(config)
        target = _target(settings, url, write_key, rate)
        with ExitStack() as stack:
            plans = [stack.enter_context(closing(plan_import(name, overrides, columns))) for name in names]
            _send(plans, target, _mappers(settings, target.write_key), yes=yes, is_restart=restart)
    except GatewayError as error:
        fail(str(error))


def _names(files: Sequence[str]) -> list[str]:
    from gateway.importer.inputs import expand

    names = expand(files)
    if len(names) > MAX_FILES:
        fail(f"{len(names)} files; at most {MAX_FILES} can be imported by one command", 2)
    return names


def _settings(config: Path) -> Settings | None:
    """The settings of the gateway, if they are here. Without them, mapping is not previewed."""
    from gateway.config import ConfigError, load

    if config == DEFAULT_CONFIG and not config.exists():
        return None
    try:
        return load(config)
    except ConfigError as error:
        print_line(f"{config} cannot be used here, so the preview does not show the mapping:", error=True)
        for line in str(error).split("\n"):
            print_line(f"  {line}", error=True)
        return None


def _target(settings: Settings | None, url: str | None, write_key: str | None, rate: float | None) -> Target:
    from gateway.importer.backfill import Target

    if url is None:
        url = DEFAULT_URL
        if settings is not None and settings.server.port:
            url = f"http://127.0.0.1:{settings.server.port}"
    check_http_url(url)
    if write_key is None and settings is not None and len(settings.sources) == 1:
        write_key = next(iter(settings.sources.values())).write_key.reveal()
    if not write_key:
        fail("--write-key: required, or set GATEWAY_WRITE_KEY", 2)
    return Target(url, write_key, rate)


def _mappers(settings: Settings | None, write_key: str) -> list[tuple[str, Mapper]]:
    """The mappers of the destinations that the source sends to."""
    if settings is None:
        return []
    from gateway.mapping import compile_mapper

    return [
        (name, compile_mapper(name, settings.destinations[name], settings.server.max_event_bytes))
        for source in settings.sources.values()
        if source.write_key.reveal() == write_key
        for name in source.destinations
    ]


def _send(
    plans: Sequence[Plan], target: Target, mappers: Sequence[tuple[str, Mapper]], *, yes: bool, is_restart: bool
) -> None:
    """Preview the files, ask, and import them; exits with the status."""
    from gateway.importer.backfill import earlier_progress, restart
    from gateway.importer.display import preview_lines, summary
    from gateway.importer.preview import preview

    open_plans = []
    for plan in plans:
        progress = earlier_progress(plan, target) if not is_restart else None
        if progress is not None and progress.is_complete:
            print_line(f"{summary(plan.name, progress)}; it was imported completely. --restart sends it again")
            continue
        open_plans.append(plan)
        for line in preview_lines(plan, preview(plan, mappers)):
            print_line(line)
        if progress is not None and progress.rows:
            print_line(f"  {progress.rows:,} rows were imported before; the import continues after them")
    if not open_plans:
        return
    if not mappers:
        print_line("The mapping is not shown: there is no settings file of the gateway here (--config).")
    if not yes and not _is_confirmed(open_plans, target):
        print_line("nothing was sent; add --yes to send without being asked", error=True)
        raise SystemExit(NOT_CONFIRMED)
    has_rejected = False
    for plan in open_plans:
        if is_restart:
            restart(plan)
        has_rejected |= _import(plan, target).rejected > 0
    raise SystemExit(1 if has_rejected else 0)


def _is_confirmed(plans: Sequence[Plan], target: Target) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    files = "1 file" if len(plans) == 1 else f"{len(plans)} files"
    return typer.confirm(f"Send {files} to {target.url}?")


def _import(plan: Plan, target: Target) -> Progress:
    """Import one file, and print its counts; exits when it is not complete."""
    import asyncio

    import uvloop

    from gateway.importer.backfill import STDIN_FILES, earlier_progress, import_file
    from gateway.importer.display import shown, summary
    from gateway.importer.inputs import REJECTED_SUFFIX, STDIN
    from gateway.model import GatewayError

    try:
        progress = uvloop.run(import_file(plan, target, shown))
    except GatewayError as error:
        print_line(str(error), error=True)
        fail(_how_to_continue(plan, earlier_progress(plan, target)))
    except asyncio.CancelledError:
        fail(_how_to_continue(plan, earlier_progress(plan, target)), INTERRUPTED)
    print_line(summary(plan.name, progress))
    if progress.rejected:
        name = STDIN_FILES if plan.name == STDIN else plan.name
        print_line(f"rejected rows: {name}{REJECTED_SUFFIX}; correct them, then import that file")
    if not progress.is_complete:
        fail(_how_to_continue(plan, progress), INTERRUPTED)
    return progress


def _how_to_continue(plan: Plan, progress: Progress) -> str:
    if plan.fingerprint is None:
        return "standard input was not imported completely, and cannot be continued; save it to a file to be able to"
    return (
        f"{plan.name}: {progress.rows:,} rows are imported. Run the same command within an hour (dedup.age) to "
        "continue: the gateway then recognises the rows in doubt"
    )
