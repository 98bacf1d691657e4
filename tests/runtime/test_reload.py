"""The task that reloads the settings survives every error, and reports it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config import Settings, load
from gateway.runtime.reload import reload_on_change

SETTINGS = """
[sources.shop]
write_key = "wk"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "t"
standard_to_event_sets = { Purchase = ["1"] }
"""


class FailingGateway:
    """A gateway whose reloads raise these errors, and then succeed."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.reloaded: list[Settings] = []
        self.failed: list[Sequence[str]] = []
        self.done = asyncio.Event()

    async def reload(self, settings: Settings) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.reloaded.append(settings)
        self.done.set()

    def reload_failed(self, errors: Sequence[str]) -> None:
        self.failed.append(errors)
        self.done.set()

    async def sighup(self) -> None:
        """Send SIGHUP to this process, and wait until the reload ended."""
        self.done.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(self.done.wait(), 10)


@pytest.fixture(autouse=True)
def _restore_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@asynccontextmanager
async def reloading(config: Path, gateway: FailingGateway) -> AsyncIterator[None]:
    config.write_text(SETTINGS)
    async with reload_on_change(config, load(config, {}), gateway, watch=False):
        yield


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ZeroDivisionError(), RecursionError()])
async def test_a_signal_after_an_unexpected_error_reloads_the_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    gateway = FailingGateway(error)
    async with reloading(tmp_path / "gateway.toml", gateway):
        await gateway.sighup()
        assert gateway.failed == [[f"internal error ({type(error).__name__}); see the log"]]
        assert "still using the previous settings" in caplog.text
        await gateway.sighup()
        assert len(gateway.reloaded) == 1


async def test_a_signal_after_settings_that_cannot_be_read_reloads_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    gateway = FailingGateway()
    async with reloading(config, gateway):
        for invalid in (b"\xff", b"[", b"[" * 100_000):
            config.write_bytes(invalid)
            await gateway.sighup()
        config.unlink()
        config.mkdir()
        await gateway.sighup()
        config.rmdir()
        assert len(gateway.failed) == 4
        config.write_text(SETTINGS)
        await gateway.sighup()
        assert len(gateway.reloaded) == 1


async def test_a_signal_after_the_end_does_not_end_the_process(tmp_path: Path) -> None:
    async with reloading(tmp_path / "gateway.toml", FailingGateway()):
        pass
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0)
