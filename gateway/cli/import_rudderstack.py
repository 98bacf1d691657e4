"""`gateway import-rudderstack`."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import fail, print_line, read_input
from gateway.escaping import printable

if TYPE_CHECKING:
    from gateway.cli.rudderstack import Conversion

WIDTH = 120
SUBJECT_WIDTH = 26


def import_rudderstack(
    file: Annotated[str, typer.Argument(help="Exported destinations as JSON; - reads standard input.")],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the destination in the settings. Default: from its name in RudderStack."),
    ] = None,
) -> None:
    """Convert RudderStack destinations to gateway settings.

    Takes destinations "Facebook Offline Conversions" and "Facebook Conversions": a workspace with several, one
    destination, or only its configuration. Prints settings (TOML) on standard output, and on standard error what was
    carried over, what has no counterpart, and what will be different in the uploads. Secrets are not printed: the
    settings read them from environment variables, which are named after the destination.
    """
    from gateway.cli.rudderstack import Kind, as_toml, convert, find_destinations

    if name is not None and not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        fail(f"--name: invalid value {name!r}; expected lower-case letters, digits and '_', at most 40", 2)
    try:
        tree = json.loads(read_input(file))
        json.dumps(tree, ensure_ascii=False).encode()  # fails for half a surrogate pair, which cannot be printed
    except (json.JSONDecodeError, UnicodeError, RecursionError) as error:
        fail(f"{file}: invalid JSON: {error}")
    destinations, others = find_destinations(tree)
    if not destinations:
        found = f"; found {', '.join(others)}" if others else ""
        keys = "with the key eventsToIds or datasetId"
        fail(f"{file}: no destination of type {' or '.join(Kind)}{found}; expected one, or its configuration {keys}")
    if name is not None and len(destinations) > 1:
        fail(f"--name: {file} has {len(destinations)} destinations; expected one", 2)
    conversions: list[Conversion] = []
    faults: list[str] = []
    for exported in destinations:
        conversion, errors = convert(exported, name, [other.name for other in conversions])
        conversions.append(conversion)
        faults += errors
    if faults:
        fail("\n".join(f"{file}: {fault}" for fault in faults))
    for conversion in conversions:
        typer.echo(as_toml(conversion))
        _report(conversion)


def _report(conversion: Conversion) -> None:
    """Print the table of one destination."""
    from gateway.cli.rudderstack import Effect

    print_line(f"{conversion.name}: RudderStack's destination {conversion.label!r}, {conversion.kind}", error=True)
    for effect in Effect:
        rows = [row for row in conversion.rows if row.effect is effect]
        typer.echo(f"\n  {effect}" if rows else f"\n  {effect}: nothing", err=True)
        for row in rows:
            subject = f"    {printable(row.subject)}".ljust(SUBJECT_WIDTH + 4)
            text = textwrap.fill(
                printable(row.sentence),
                WIDTH,
                initial_indent=f"{subject} ",
                subsequent_indent=" " * (SUBJECT_WIDTH + 5),
                break_long_words=False,
                break_on_hyphens=False,
            )
            typer.echo(text, err=True)
    variables = f"{conversion.variable}_WRITE_KEY and {conversion.variable}_ACCESS_TOKEN"
    typer.echo(f"\n  Set {variables}, then run `gateway check`.\n", err=True)
