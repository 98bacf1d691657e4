from pathlib import Path

import pytest

from gateway.history import History, HistoryQuery, HistoryUnavailable, Metric
from gateway.telemetry import Snapshot

NOON = 1_800_000_000 // 3600 * 3600


class Gateway:
    """A gateway with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(NOON)
        self.state = Snapshot()

    def clock(self) -> float:
        return self.now

    async def snapshot(self) -> Snapshot:
        return self.state

    def receive(self, events: int) -> None:
        self.state.ledger.received["shop"] += events


async def received(history: History, minutes: int) -> list[float]:
    page = await history.query(HistoryQuery([Metric.RECEIVED], NOON, NOON + minutes * 60))
    return [sum(values) for values in zip(*(series.values for series in page.series), strict=True)]


async def test_the_history_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    gateway = Gateway()
    for _ in range(2):
        gateway = Gateway()
        history = History(path, gateway.snapshot, gateway.clock)
        gateway.receive(5)
        gateway.now += 60
        await history.record()
        gateway.receive(2)
        gateway.now += 30
        await history.close()
    history = History(path, gateway.snapshot, gateway.clock)
    assert await received(history, 2) == [10, 4]
    await history.close()


async def test_what_could_not_be_written_is_part_of_the_next_values(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "history.sqlite"
    gateway = Gateway()
    history = History(path, gateway.snapshot, gateway.clock)
    gateway.receive(5)
    gateway.now += 60
    await history.record()
    with pytest.raises(HistoryUnavailable, match="No such file"):
        await received(history, 2)
    path.parent.mkdir()
    history._file._retry_at = 0.0
    gateway.receive(2)
    gateway.now += 60
    await history.record()
    assert await received(history, 2) == [0, 7]
    await history.close()


async def test_the_history_of_a_gateway_without_files_is_in_memory() -> None:
    gateway = Gateway()
    history = History(None, gateway.snapshot, gateway.clock)
    gateway.receive(5)
    gateway.now += 60
    await history.record()
    assert await received(history, 1) == [5]
    await history.close()
