"""The log of a real process: uncaught exceptions, warnings and library records go through the same formats."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MARKER = "jane@example.com"

SCRIPT = """
import asyncio, gc, logging, sys, threading, warnings
from gateway.config import LoggingSettings
from gateway.telemetry.logging import configure_logging

configure_logging(LoggingSettings(format=sys.argv[1]), worker=3)
content = "jane" + "@example.com"  # so that no line of this script contains it

def fail_in_thread():
    raise ValueError(content)

class FailsInDestructor:
    def __del__(self):
        raise KeyError(content)

async def lose_task():
    async def fail_in_task():
        raise TypeError(content)
    def fail_in_callback():
        raise LookupError(content)
    task = asyncio.create_task(fail_in_task())
    asyncio.get_running_loop().call_soon(fail_in_callback)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()

thread = threading.Thread(target=fail_in_thread, name="reader")
thread.start()
thread.join()
FailsInDestructor()
asyncio.run(lose_task())
warnings.warn(content, RuntimeWarning)
logging.getLogger("gateway.test").error("%d events", content)
logging.getLogger("gateway.test").error("surrogate \\ud800")
logging.getLogger("aiohttp.server").error("bad request %s", content)

def fail_in_main():
    raise AssertionError(content)
fail_in_main()
"""


@pytest.fixture(scope="module", params=["json", "text"])
def run(request: pytest.FixtureRequest) -> tuple[str, subprocess.CompletedProcess[str]]:
    command = [sys.executable, "-c", SCRIPT, request.param]
    return request.param, subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_no_content_of_an_exception_or_warning_is_written(run: tuple[str, subprocess.CompletedProcess[str]]) -> None:
    _, done = run
    assert done.returncode == 1
    assert MARKER not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("fail_in_thread", "ValueError"),
        ("FailsInDestructor.__del__", "KeyError"),
        ("fail_in_task", "TypeError"),
        ("fail_in_callback", "LookupError"),
        ("<string>", "RuntimeWarning"),
        ("fail_in_main", "AssertionError"),
    ],
)
def test_type_and_origin_of_an_uncaught_exception_are_written(
    run: tuple[str, subprocess.CompletedProcess[str]], origin: str, kind: str
) -> None:
    _, done = run
    assert origin in done.stderr
    assert kind in done.stderr


def test_every_line_is_in_the_format(run: tuple[str, subprocess.CompletedProcess[str]]) -> None:
    format_, done = run
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
    lines = done.stderr.splitlines()
    assert len([line for line in lines if not line.startswith("    | ")]) == 9
    if format_ == "json":
        assert {json.loads(line)["worker"] for line in lines} == {3}
        assert json.loads(lines[-1])["message"] == "uncaught exception; the process ends"
