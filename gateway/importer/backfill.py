"""Imports planned files into a gateway, each under a lock, with its progress beside it."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from gateway.importer.client import GIVE_UP_AFTER, GatewayClient
from gateway.importer.inputs import STDIN, check_unchanged, locked
from gateway.importer.plan import Plan
from gateway.importer.progress import PROGRESS_SUFFIX, Identity, Progress, ProgressFile
from gateway.importer.rejected import RejectedFile
from gateway.importer.rows import Row
from gateway.importer.run import BATCH_CALLS, ImportRun, batches
from gateway.model import GatewayError, Rejection

STDIN_FILES = "stdin"
"""Name before the suffix of the rejected rows of standard input, in the current folder."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and how."""

    url: str
    write_key: str = field(repr=False)
    rate: float | None = None
    """Rows per second; None: as fast as possible."""
    give_up_after: float = GIVE_UP_AFTER
    """Seconds."""


class FileRecorder:
    """Keeps the results of a file: its progress, and its rejected rows. Standard input has no progress."""

    def __init__(self, rejected: RejectedFile, progress: ProgressFile | None) -> None:
        self._rejected = rejected
        self._progress = progress

    def reject(self, rows: list[tuple[Row, Rejection]]) -> None:
        """See `gateway.importer.run.Recorder`."""
        self._rejected.write(rows)

    def save(self, progress: Progress) -> None:
        """See `gateway.importer.run.Recorder`. The progress is saved last: it says how long the other file is."""
        progress.rejected_bytes = self._rejected.sync()
        if self._progress is not None:
            self._progress.save(progress)


@dataclass(frozen=True, slots=True)
class Observation:
    """A running import, for its display."""

    plan: Plan
    progress: Progress
    client: GatewayClient


Watch = Callable[[Observation], AbstractContextManager[Callable[[], None]]]
"""Shows an import while the context is entered. The function is called after each batch."""


def progress_file(plan: Plan, target: Target) -> ProgressFile | None:
    """The progress file of a plan; None for standard input."""
    if plan.fingerprint is None:
        return None
    source = blake2b(target.write_key.encode(), digest_size=8).hexdigest()
    identity = Identity(plan.fingerprint.digest, plan.settings.digest, target.url.rstrip("/"), source)
    return ProgressFile(plan.name, identity)


def earlier_progress(plan: Plan, target: Target) -> Progress:
    """The progress of an earlier run of the same import. Raises `GatewayError` if there was a different one."""
    file = progress_file(plan, target)
    return file.load() if file else Progress()


def restart(plan: Plan) -> None:
    """Forget the progress of an earlier run. Its rejected rows stay."""
    if plan.fingerprint is not None:
        Path(plan.name + PROGRESS_SUFFIX).unlink(missing_ok=True)


async def import_file(plan: Plan, target: Target, watch: Watch) -> Progress:
    """Import one file. SIGINT and SIGTERM stop it in order; a second one stops it at once.

    Raises `GatewayError`; the progress that was made until then is saved.
    """
    with locked(plan.name) if plan.name != STDIN else nullcontext():
        if plan.fingerprint is not None:
            check_unchanged(plan.name, plan.fingerprint)
        file = progress_file(plan, target)
        progress = file.load() if file else Progress()
        if progress.is_complete:
            return progress
        rejected = RejectedFile(plan.name if file else STDIN_FILES, plan.table)
        saved_at = file.path.stat().st_mtime if file and file.path.exists() else None
        rejected.open(progress.rejected_bytes, saved_at)
        try:
            await _run(plan, target, progress, FileRecorder(rejected, file), watch)
        finally:
            rejected.close()
        return progress


async def _run(plan: Plan, target: Target, progress: Progress, recorder: FileRecorder, watch: Watch) -> None:
    stop = asyncio.Event()
    rows = itertools.islice(plan.rows(), progress.rows, None)  # without those that an earlier run imported
    try:
        recorder.save(progress)  # finds out whether the folder can be written before anything is sent
    except OSError as error:
        folder = Path(plan.name).absolute().parent
        raise GatewayError(
            f"cannot write into {folder}: {error.strerror}; the progress is kept beside the file, so copy it to a "
            "folder that can be written"
        ) from None
    async with GatewayClient(target.url, target.write_key, stop, give_up_after=target.give_up_after) as client:
        with watch(Observation(plan, progress, client)) as on_progress, stopped_by_signals(stop):
            run = ImportRun(client, recorder, progress, stop, rate=target.rate, on_progress=on_progress)
            max_calls = max(1, min(BATCH_CALLS, int(target.rate))) if target.rate else BATCH_CALLS
            await run.run(batches(rows, plan.converter, max_calls))
        if plan.fingerprint is not None and progress.is_complete:
            check_unchanged(plan.name, plan.fingerprint)


@contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM, and cancel the current task at the second."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def handle() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
