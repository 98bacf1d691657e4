"""Runs commands of the gateway as child processes, on ports that the operating system chooses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import orjson

from gateway.model import GatewayError

START_TIMEOUT = 30.0
STOP_TIMEOUT = 60.0
"""Seconds."""


class Subprocess:
    """A child process `python -m MODULE ...` that writes its addresses to the file in `GATEWAY_ADDRESS_FILE`.

    Its output goes to `log`. As a context manager it kills the process at the end.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        group: int | None = None,
    ) -> None:
        """`arguments`: the module and its arguments. `group`: process group to join; 0 creates a new one."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._address_file = folder / f"{name}.address"
        self._address_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**os.environ, **(environ or {}), "GATEWAY_ADDRESS_FILE": str(self._address_file)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=group,
            )
        self.addresses: Mapping[str, str] = {}
        """URLs, once started: `server`, and `admin` for a gateway."""

    def started(self) -> Self:
        """Wait until it listens, and read its addresses. Raises `GatewayError` when it does not start."""
        deadline = time.monotonic() + START_TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            if self._address_file.exists() and (line := self._address_file.read_bytes()).endswith(b"\n"):
                self.addresses = orjson.loads(line)
                return self
            time.sleep(0.01)
        self.kill()
        raise GatewayError(f"{self.name} did not start:\n{self.log.read_text().strip()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and wait until it ends; its exit status.

        Raises `subprocess.TimeoutExpired` when it did not end in time and had to be killed.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill it if it is running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
