"""`gateway --version`: the version, and which path maps events."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import __version__

DESCRIPTION = (
    "Offline Conversions Gateway: receives RudderStack / Segment track calls over HTTP, maps them to Meta's events and "
    "uploads them in batches."
)


def _print_version(requested: bool) -> None:
    if requested:
        from gateway.mapping.native import describe

        typer.echo(f"gateway {__version__}\nmapping: {describe()}")
        raise typer.Exit


def callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Declare the options of `gateway` itself."""
    _ = version
