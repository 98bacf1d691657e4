"""Runs an import: rows become batches, several of which are in flight. Results are recorded in the order of the file.

A row is recorded when its batch was answered and every row before it is recorded. So the progress is one number, and
the rows that a killed run leaves in doubt are the last ones: at most `MAX_IN_DOUBT`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from gateway.importer.client import CONNECTIONS, BatchResponse, GatewayClient, Stopped
from gateway.importer.convert import Converter
from gateway.importer.progress import Progress
from gateway.importer.rows import Row
from gateway.model import GatewayError, Rejection

BATCH_CALLS = 100
"""Calls of a request. The gateway names up to 100 rejected calls in a response, so each of them is named."""
BATCH_BYTES = 1024 * 1024
BATCH_ROWS = 1000
"""Rows of a batch, with those that are skipped or rejected before they are sent."""
SAVE_SECONDS = 0.5
SAVE_ROWS = 10_000
"""Time and rows after which the progress is saved."""
SHOW_SECONDS = 0.5
"""Seconds after which the display is updated while nothing happens."""
MAX_IN_DOUBT = SAVE_ROWS + (CONNECTIONS + 1) * BATCH_ROWS


class Recorder(Protocol):
    """Keeps the results of an import."""

    def reject(self, rows: list[tuple[Row, Rejection]]) -> None:
        """Keep rejected rows. Raises `OSError`."""
        ...

    def save(self, progress: Progress) -> None:
        """Make the results so far durable. Raises `OSError`."""
        ...


@dataclass(slots=True)
class RowBatch:
    """Consecutive rows of a file."""

    sent: list[Row] = field(default_factory=list)
    calls: list[bytes] = field(default_factory=list)
    """The calls of `sent`."""
    rejected: list[tuple[Row, Rejection]] = field(default_factory=list)
    """Rows that are not sent."""
    rows: int = 0
    """All rows, with those that are skipped."""


def batches(rows: Iterator[Row], converter: Converter, max_calls: int = BATCH_CALLS) -> Iterator[RowBatch]:
    """Convert rows and form batches."""
    convert = converter.convert
    batch, size = RowBatch(), 0
    for row in rows:
        call = convert(row)
        batch.rows += 1
        if call.__class__ is bytes:
            batch.sent.append(row)
            batch.calls.append(call)
            size += len(call)
        elif isinstance(call, Rejection):
            batch.rejected.append((row, call))
        if len(batch.calls) >= max_calls or size >= BATCH_BYTES or batch.rows >= BATCH_ROWS:
            yield batch
            batch, size = RowBatch(), 0
    if batch.rows:
        yield batch


class ImportRun:
    """One run over the rows of a file."""

    def __init__(
        self,
        client: GatewayClient,
        recorder: Recorder,
        progress: Progress,
        stop: asyncio.Event,
        *,
        rate: float | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`rate`: rows per second, or None for as fast as possible. `progress` is changed as rows are done."""
        self.progress = progress
        self._client = client
        self._recorder = recorder
        self._stop = stop
        self._rate = rate
        self._on_progress = on_progress
        self._saved_at = 0.0  # monotonic
        self._saved_rows = progress.rows
        self._next_batch_at = 0.0  # loop time

    async def run(self, source: Iterator[RowBatch]) -> bool:
        """Import the batches; whether all were, or the import was stopped. Raises `GatewayError`.

        Whatever ends the run, what is done is saved.
        """
        pending: deque[tuple[RowBatch, asyncio.Task[BatchResponse]]] = deque()
        try:
            is_exhausted = await self._run(source, pending)
            self.progress.is_complete = is_exhausted and not pending
        finally:
            for _, task in pending:
                task.cancel()
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
            self._save()
        return self.progress.is_complete

    async def _run(
        self, source: Iterator[RowBatch], pending: deque[tuple[RowBatch, asyncio.Task[BatchResponse]]]
    ) -> bool:
        """Send the batches and record the results; whether there are no more batches."""
        loop = asyncio.get_running_loop()
        is_exhausted = False
        while True:
            if pending and pending[0][1].done():
                if not self._finish_first(pending):
                    return False
                continue
            may_send = not is_exhausted and len(pending) < CONNECTIONS and not self._stop.is_set()
            delay = self._next_batch_at - loop.time() if may_send else SHOW_SECONDS
            if may_send and delay <= 0:
                batch = next(source, None)
                if batch is None:
                    is_exhausted = True
                    continue
                pending.append((batch, asyncio.create_task(self._client.send(batch.calls))))
                if self._rate is not None:
                    self._next_batch_at = loop.time() + len(batch.calls) / self._rate
                await asyncio.sleep(0)  # lets the requests before it go on
            elif pending:
                await asyncio.wait([pending[0][1]], timeout=min(delay, SHOW_SECONDS))
                self._on_progress()
            elif may_send:
                await asyncio.sleep(min(delay, SHOW_SECONDS))
            else:
                return is_exhausted

    def _finish_first(self, pending: deque[tuple[RowBatch, asyncio.Task[BatchResponse]]]) -> bool:
        """Record the first batch, which is done; whether it was accepted. Raises `GatewayError`."""
        batch, task = pending[0]
        try:
            response = task.result()
        except Stopped:
            return False
        self._record(batch, response)
        pending.popleft()
        if self._is_save_due():
            self._save()
        self._on_progress()
        return True

    def _record(self, batch: RowBatch, response: BatchResponse) -> None:
        rejected = [*batch.rejected, *((batch.sent[index], rejection) for index, rejection in response.rejected)]
        rejected.sort(key=lambda each: each[0].number)
        try:
            self._recorder.reject(rejected)
        except OSError as error:
            raise _disk_error(error) from None
        progress = self.progress
        progress.rows += batch.rows
        progress.accepted += response.accepted
        progress.ignored += response.ignored
        progress.rejected += len(rejected)
        progress.skipped += batch.rows - len(batch.calls) - len(batch.rejected)

    def _is_save_due(self) -> bool:
        return time.monotonic() - self._saved_at >= SAVE_SECONDS or self.progress.rows - self._saved_rows >= SAVE_ROWS

    def _save(self) -> None:
        try:
            self._recorder.save(self.progress)
        except OSError as error:
            raise _disk_error(error) from None
        self._saved_at, self._saved_rows = time.monotonic(), self.progress.rows


def _disk_error(error: OSError) -> GatewayError:
    return GatewayError(
        f"the progress or the rejected rows cannot be written: {error.strerror}; check the disk and its free space, "
        "then run the same command again"
    )
