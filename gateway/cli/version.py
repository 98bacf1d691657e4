"""`gateway --version`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import __version__


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


def callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take RudderStack / Segment track calls over HTTP, map them to Meta's events, upload them in full batches."""
    _ = version
