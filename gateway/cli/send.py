"""`gateway send`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import check_http_url, fail, print_json, print_line

if TYPE_CHECKING:
    from gateway.importer.ndjson import NdjsonTable
    from gateway.importer.progress import Progress
    from gateway.importer.rows import Row
    from gateway.model import Rejection

GIVE_UP_AFTER = 60.0
"""Seconds without a success after which the command ends."""


class PrintingRecorder:
    """Prints rejected lines, as JSON on standard error."""

    def reject(self, rows: list[tuple[Row, Rejection]]) -> None:
        """See `gateway.importer.run.Recorder`."""
        for row, rejection in rows:
            print_json({"line": row.line, "code": rejection.code, "message": rejection.message}, error=True)

    def save(self, progress: Progress) -> None:
        """Nothing is kept."""


def send(
    file: Annotated[str, typer.Argument(help="File with events, one JSON object per line; - reads stdin.")],
    write_key: Annotated[str, typer.Option(envvar="GATEWAY_WRITE_KEY", help="Write key of the source.")],
    url: Annotated[str, typer.Option(help="URL of the gateway.")] = "http://127.0.0.1:8080",
    batch: Annotated[int, typer.Option(help="Events per request.", min=1, max=100)] = 100,
) -> None:
    """Send events from a file to a gateway.

    Prints how many events were accepted, ignored and rejected. A line that is rejected, or is no JSON object, costs no
    other line: it is reported on standard error with its number, one JSON object per line. A request that fails with
    status 429 or 503 or without a response is sent again. Exit status 1 if an event is rejected. `gateway backfill`
    also reads tables, and continues after an interruption.
    """
    check_http_url(url)
    import uvloop

    from gateway.importer.ndjson import NdjsonTable
    from gateway.importer.texts import TextFile
    from gateway.model import GatewayError

    try:
        with closing(TextFile(file, encoding=None)) as text:
            progress = uvloop.run(_send(NdjsonTable(text, calls=True), url, write_key, batch))
    except GatewayError as error:
        fail(str(error))
    print_line(f"accepted {progress.accepted}, ignored {progress.ignored}, rejected {progress.rejected}")
    if not progress.is_complete:
        fail(f"stopped after {progress.rows} events", 130)
    raise SystemExit(1 if progress.rejected else 0)


async def _send(table: NdjsonTable, url: str, write_key: str, batch: int) -> Progress:
    """Send every line; what became of them. Raises `GatewayError`, which says how many lines were done."""
    import asyncio
    import os

    from gateway.importer.backfill import stopped_by_signals
    from gateway.importer.client import GatewayClient
    from gateway.importer.convert import CallConverter
    from gateway.importer.progress import Progress
    from gateway.importer.run import ImportRun, batches
    from gateway.model import GatewayError

    stop = asyncio.Event()
    progress = Progress()
    # Another key in each run: a line that is sent again on purpose is another event.
    converter = CallConverter(os.urandom(32))
    async with GatewayClient(url, write_key, stop, give_up_after=GIVE_UP_AFTER) as client:
        run = ImportRun(client, PrintingRecorder(), progress, stop)
        try:
            with stopped_by_signals(stop):
                await run.run(batches(table.rows(), converter, batch))
        except GatewayError as error:
            raise GatewayError(f"{error}\n{progress.rows} events were sent before") from None
    return progress
