"""The supervisor keeps its workers running, whatever a worker or the system does. The workers are small scripts."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings, parse
from gateway.model import GatewayError
from gateway.runtime import ipc, supervisor
from gateway.runtime.lifecycle import StopSignal
from gateway.runtime.supervisor import Supervisor, WorkerProcess
from gateway.runtime.worker import SpoolShard
from gateway.spool import ALL_DEAD_LETTERS
from gateway.telemetry import rejection_rate
from gateway.telemetry.alerts import Alert, AlertType
from gateway.telemetry.rejection_rate import RejectionRate
from gateway.telemetry.webhook import WebhookNotifier

RATE_OF_BOTH = RejectionRate(200, 100, {"unmapped_event": 100})
NO_MEMORY = OSError(errno.ENOMEM, "Cannot allocate memory")


def settings(level: str = "info") -> Settings:
    return parse(
        {
            "server": {"port": 0, "drain_delay": 0, "drain_timeout": 0},
            "admin": {"port": 0},
            "logging": {"level": level},
            "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
            "destinations": {
                "store": {"api": "conversions", "access_token": "t", "standard_to_event_sets": {"Purchase": ["1"]}}
            },
        }
    )


class Notes:
    """What the processes of the fake workers noted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes"

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    @property
    def processes(self) -> list[int]:
        return [int(line.split()[1]) for line in self.lines if line.startswith("pid")]


def command(mode: str, folder: Path) -> list[str]:
    return [sys.executable, str(Path(__file__).parent / "fake_worker.py"), mode, str(Notes(folder).path)]


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAY", 0.02)
    monkeypatch.setattr(supervisor, "COUNT_INTERVAL", 0.02)


async def until(condition: Callable[[], Any], expected: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited for {expected}"
        await asyncio.sleep(0.01)


async def until_ready(given: Supervisor, task: asyncio.Task[None] | None = None) -> None:
    """Wait until all workers serve, or the task of the supervisor ends."""
    deadline = time.monotonic() + 20
    while not (task and task.done()) and (reasons := await given.readiness()):
        assert time.monotonic() < deadline, reasons
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(mode: str, folder: Path, workers: int = 1) -> AsyncIterator[Supervisor]:
    """A supervisor of fake workers that serve."""
    stop = StopSignal()
    given = Supervisor(settings(), workers, [], command(mode, folder))
    task = asyncio.create_task(given.run(stop))
    try:
        await until_ready(given, task)
        yield given
    finally:
        stop.request()
        await asyncio.wait_for(task, 20)


@pytest.mark.parametrize("mode", ["garbage", "oversized"])
async def test_a_worker_that_sends_an_invalid_message_is_killed_and_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(ipc, "MAX_MESSAGE_BYTES", 100_000)
    async with running(mode, tmp_path) as given:
        with pytest.raises(GatewayError):
            await given.dead_letters.find(0, 1, ALL_DEAD_LETTERS)
        await until(lambda: len(Notes(tmp_path).processes) == 2, "another process")
        first, _ = Notes(tmp_path).processes
        assert not Path(f"/proc/{first}").exists()
        await until_ready(given)
        assert (await given.snapshot()).restarts == 1


async def test_a_worker_that_sends_a_result_of_another_type_is_killed_and_the_status_has_the_rest(
    tmp_path: Path,
) -> None:
    async with running("wrong type", tmp_path) as given:
        snapshot = await given.snapshot()
        assert not snapshot.ledger.received
        await until(lambda: len(Notes(tmp_path).processes) > 1, "another process")


async def test_no_counter_falls_when_a_worker_is_killed(tmp_path: Path) -> None:
    async with running("", tmp_path, workers=2) as given:
        received = 0
        for _ in range(3):
            for _ in range(20):
                now = (await given.snapshot()).ledger.received["shop"]
                assert now >= received
                received = now
            victim = Notes(tmp_path).processes[-1]
            os.kill(victim, signal.SIGKILL)
            await until(lambda victim=victim: Notes(tmp_path).processes[-1] != victim, "another process")  # type: ignore[misc]
        assert received >= 60, "of each of the two workers"


async def test_rejections_of_all_workers_are_logged_once_and_cause_one_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alerts: list[Alert] = []
    monkeypatch.setattr(WebhookNotifier, "notify", lambda _, alert: alerts.append(alert))
    monkeypatch.setattr(rejection_rate, "SAMPLE_SECONDS", 0.0)
    async with running("rejecting", tmp_path, workers=2) as given:
        await until(lambda: given._rejections.above.get("shop") == RATE_OF_BOTH, "the counts of both workers")
        snapshot = await given.snapshot()
        assert dict(snapshot.rejection_rates) == {"shop": RATE_OF_BOTH}
    assert [(alert.alert_type, dict(alert.subject)) for alert in alerts] == [
        (AlertType.REJECTION_RATE_HIGH, {"source": "shop"})
    ]
    logged = [message for message in caplog.messages if message.startswith("rejected an event")]
    assert len(logged) == 1
    (counted,) = [message for message in caplog.messages if "more events rejected" in message]
    assert counted == 'source "shop": 99 more events rejected in the last minute: unmapped_event', "at the stop"


async def test_a_worker_that_does_not_reply_is_named_in_a_trace_and_left_out_of_the_live_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIND_TIMEOUT", 0.1)
    monkeypatch.setattr(supervisor, "REPLY_TIMEOUT", 0.1)
    async with running("", tmp_path) as given:
        (process,) = Notes(tmp_path).processes
        os.kill(process, signal.SIGSTOP)
        try:
            traced, page = await given.trace("1001"), await given.tap("")
        finally:
            os.kill(process, signal.SIGCONT)
    assert (traced.events, traced.failure) == ([], "Worker 0 does not answer; its events are not included.")
    assert (page.entries, page.cursor, page.skipped) == ([], "", 0)


async def test_a_worker_that_does_not_reply_keeps_its_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running("", tmp_path) as given:
        received = (await given.snapshot()).ledger.received["shop"]
        (process,) = Notes(tmp_path).processes
        os.kill(process, signal.SIGSTOP)
        monkeypatch.setattr(supervisor, "REPLY_TIMEOUT", 0.05)
        snapshot = await given.snapshot()
        assert snapshot.ledger.received["shop"] >= received
        assert snapshot.reasons == ["worker 0 is not running"]
        os.kill(process, signal.SIGCONT)


async def test_the_last_counters_of_a_worker_that_ends_in_order_are_kept(tmp_path: Path) -> None:
    async with running("", tmp_path) as given:
        pass
    assert (await given.snapshot()).ledger.received["shop"] == 100


async def test_a_worker_that_cannot_be_started_for_lack_of_memory_is_tried_again_until_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running("", tmp_path) as given:
        failures = 6
        create = asyncio.create_subprocess_exec

        async def fail(*arguments: Any, **options: Any) -> Any:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise NO_MEMORY
            return await create(*arguments, **options)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
        monkeypatch.setattr(supervisor, "MAX_RESTART_DELAY", 0.05)
        os.kill(Notes(tmp_path).processes[0], signal.SIGKILL)
        await until(lambda: len(Notes(tmp_path).processes) == 2, "the process that starts")
        await until_ready(given)
        assert (await given.snapshot()).restarts == 7
        assert caplog.text.count("could not start: Cannot allocate memory") == 6


async def test_a_failure_to_start_a_process_at_first_is_an_error_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise NO_MEMORY

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    given = Supervisor(settings(), 2, [], command("", tmp_path))
    with pytest.raises(GatewayError, match="worker 0 could not start: Cannot allocate memory"):
        await asyncio.wait_for(given.run(StopSignal()), 5)


async def test_a_worker_that_ends_at_first_is_an_error_and_does_not_hang(tmp_path: Path) -> None:
    given = Supervisor(settings(), 2, [], command("exit", tmp_path))
    with pytest.raises(GatewayError, match=r"worker \d could not start: it ended with status 3; see its log messages"):
        await asyncio.wait_for(given.run(StopSignal()), 10)


async def test_a_stop_while_the_workers_start_ends_the_supervisor(tmp_path: Path) -> None:
    stop = StopSignal()
    given = Supervisor(settings(), 2, [], command("slow start", tmp_path))
    task = asyncio.create_task(given.run(stop))
    await until(lambda: len(Notes(tmp_path).processes) == 2, "the processes")
    stop.request()
    await asyncio.wait_for(task, 10)


async def test_a_reload_while_a_worker_starts_reaches_it(tmp_path: Path) -> None:
    stop = StopSignal()
    given = Supervisor(settings("info"), 1, [], command("slow start", tmp_path))
    task = asyncio.create_task(given.run(stop))
    notes = Notes(tmp_path)
    await until(lambda: "level info" in notes.lines, "the start with the first settings")
    await given.reload(settings("debug"))
    await until(lambda: "reloaded level debug" in notes.lines, "the second settings")
    stop.request()
    await asyncio.wait_for(task, 10)


async def test_a_worker_that_does_not_apply_other_settings_is_restarted_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RELOAD_TIMEOUT", 0.1)
    async with running("deaf to reloads", tmp_path) as given:
        await given.reload(settings("debug"))
        notes = Notes(tmp_path)
        await until(lambda: "level debug" in notes.lines, "the restart with the second settings")
        assert len(notes.processes) == 2


def listener(port: int = 0) -> socket.socket:
    created = socket.socket()
    created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    created.bind(("127.0.0.1", port))
    return created


def connections_to(port: int, count: int) -> list[socket.socket]:
    """Connections of different ports, which the kernel distributes over the listening sockets."""
    return [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(count)]


def accepted_by(given: socket.socket) -> int:
    given.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            given.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("explicit_port", [False, True])
async def test_connections_do_not_wait_for_a_worker_that_is_down_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, explicit_port: bool
) -> None:
    monkeypatch.setattr(supervisor, "QUEUE_SECONDS", 0.3)
    probe = listener()
    port = probe.getsockname()[1]
    own = listener(port) if explicit_port else probe
    other = listener(port)
    other.listen(200)
    if explicit_port:
        probe.close()
    worker = WorkerProcess(SpoolShard(), [own], settings, command("", tmp_path))
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(worker.run(started))
    await started
    sent = connections_to(port, 60)
    taken = accepted_by(other)
    assert 0 < taken < 60, "both sockets get connections"
    accepted_by(own)

    create = asyncio.create_subprocess_exec

    async def fail(*_: Any, **__: Any) -> Any:
        raise NO_MEMORY

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    os.kill(Notes(tmp_path).processes[0], signal.SIGKILL)
    await until(lambda: worker.restarts > 5, "several attempts")
    sent += connections_to(port, 60)
    assert accepted_by(other) == 60, "while it is down, all connections go to the other worker"

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create)
    await until(lambda: worker.client is not None, "the worker to serve again")
    sent += connections_to(port, 60)
    taken = accepted_by(other)
    assert 0 < taken < 60, "then both get connections again"
    await worker.stop()
    await asyncio.wait_for(task, 10)
    for one in (*sent, own, other):
        one.close()
