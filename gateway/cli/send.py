"""`gateway send`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from gateway.cli.common import check_http_url, fail, print_json, print_line

if TYPE_CHECKING:
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
    file: Annotated[str, typer.Argument(help="File with events as JSON, one per line or not; - reads stdin.")],
    write_key: Annotated[str, typer.Option(envvar="GATEWAY_WRITE_KEY", help="Write key of the source.")],
    url: Annotated[str, typer.Option(help="URL of the gateway.")] = "http://127.0.0.1:8080",
    batch: Annotated[int, typer.Option(help="Events per request.", min=1, max=100)] = 100,
) -> None:
    """Send events from a file to a gateway.

    The file has one JSON object per line, or JSON over several lines, or one JSON array. Prints how many events were
    accepted, ignored and rejected. An event that is rejected, or is no JSON object, costs no other: it is reported on
    standard error with the number of its line, one JSON object per line. A request that fails with
    status 429 or 503 or without a response is sent again. Exit status 1 if an event is rejected. `gateway backfill`
    also reads tables, and continues after an interruption.
    """
    check_http_url(url)
    import uvloop

    from gateway.importer.inputs import open_binary
    from gateway.model import GatewayError

    try:
        content, opened = open_binary(file)
        with content, opened:
            progress = uvloop.run(_send(_rows(content), url, write_key, batch))
    except GatewayError as error:
        fail(str(error))
    print_line(f"accepted {progress.accepted}, ignored {progress.ignored}, rejected {progress.rejected}")
    if not progress.is_complete:
        fail(f"stopped after {progress.rows} events", 130)
    raise SystemExit(1 if progress.rejected else 0)


def _rows(content: BinaryIO) -> Iterator[Row]:
    """The events of a file, as rows. A line that is longer than `MAX_LINE` bytes is cut, and so it is no JSON."""
    from gateway.cli.json_input import events_in
    from gateway.importer.ndjson import parse_object
    from gateway.importer.rows import MAX_LINE, Row

    for number, event in enumerate(events_in(iter(lambda: content.readline(MAX_LINE), b"")), 1):
        _, fault = parse_object(event.text)
        yield Row(number, event.line, (), fault, event.text.decode(errors="replace"))


async def _send(rows: Iterator[Row], url: str, write_key: str, batch: int) -> Progress:
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
                await run.run(batches(rows, converter, batch))
        except GatewayError as error:
            raise GatewayError(f"{error}\n{progress.rows} events were sent before") from None
    return progress
