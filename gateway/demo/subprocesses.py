"""Commands of the gateway as processes of their own, on ports that the system chose."""

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

START_SECONDS = 30.0
STOP_SECONDS = 60.0


class Subprocess:
    """`python -m MODULE ...` as a child; it says where it listens in the file that GATEWAY_ADDRESS_FILE names."""

    def __init__(
        self,
        folder: Path,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        group: int | None = None,
    ) -> None:
        """`group` is the process group to join; 0 makes a new one."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._announce = folder / f"{name}.announce"
        self._announce.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**os.environ, **(environ or {}), "GATEWAY_ADDRESS_FILE": str(self._announce)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=group,
            )
        self.addresses: Mapping[str, str] = {}

    def started(self) -> Self:
        """Wait until it listens, and learn its `addresses`. Raises `GatewayError` when it does not start."""
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            if self._announce.exists() and (line := self._announce.read_bytes()).endswith(b"\n"):
                self.addresses = orjson.loads(line)
                return self
            time.sleep(0.01)
        self.kill()
        raise GatewayError(f"{self.name} did not start:\n{self.log.read_text().strip()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and wait for it; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
