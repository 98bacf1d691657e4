"""The pages on moving from RudderStack and Segment: every command runs, and each difference is as the table says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.config import DestinationSettings
from gateway.ingest.events import IGNORED_TYPES
from gateway.mapping import Mapper, compile_mapper
from gateway.model import JsonObject, Rejection

TOP = Path(__file__).parents[2]
EXPORTS = TOP / "tests" / "e2e" / "data"
NOW = 1_795_000_000
"""18 November 2026, 11:06:40 UTC."""
BASE: JsonObject = {"type": "track", "event": "Order Completed", "userId": "customer-7", "messageId": "m-1"}
SEGMENT_CONSENT = {"consent": {"categories": ["Advertising"]}}
DEADLINE = 30.0


def page(name: str) -> str:
    return (TOP / "docs" / name).read_text(encoding="utf-8")


def rows(name: str, *, columns: int) -> Iterator[list[str]]:
    """The rows of the table of differences, which is the last of the page."""
    for line in page(name).split("## Differences")[1].splitlines():
        if line.startswith("|") and "`{" in line:
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert len(cells) == columns, line
            yield cells


def in_code(cell: str) -> str:
    """The first text in backticks."""
    return cell.split("`")[1]


def difference_as_written(mapper: Mapper, event_cell: str, outcome_cell: str) -> None:
    """Map the event of a row, and compare what is sent, or why nothing is, with the gateway's column."""
    event = BASE | json.loads(in_code(event_cell))
    outcome = in_code(outcome_cell)
    if event["type"] in IGNORED_TYPES:
        assert outcome == "ignored"
        return
    mapped = mapper.map(event, NOW)
    if not outcome.startswith("{"):
        assert outcome == (mapped.code if isinstance(mapped, Rejection) else mapped)
        return
    assert isinstance(mapped, list), mapped
    hashed = re.sub(r"sha256\((.*?)\)", lambda match: sha256(match[1].encode()).hexdigest(), outcome)
    assert_contains(json.loads(mapped[0].body), json.loads(hashed))


def assert_contains(sent: Any, expected: Any) -> None:
    """The keys that are expected have the expected values; null stands for an absent key."""
    if not isinstance(expected, dict):
        assert sent == expected
        return
    for key, value in expected.items():
        assert_contains(sent.get(key), value)


def imported(file: str) -> Mapper:
    done = CliRunner().invoke(app, ["import-rudderstack", str(EXPORTS / file)])
    [settings] = tomllib.loads(done.stdout)["destinations"].values()
    return compile_mapper("meta", DestinationSettings.model_validate(settings | {"access_token": "-"}))


RUDDERSTACK_ROWS = [
    pytest.param(kind, row[1], row[3], id=f"{kind} {row[1][:60]}")
    for row in rows("from-rudderstack.md", columns=5)
    for kind in (("offline", "conversions") if row[0] == "both" else (row[0],))
]


@pytest.mark.parametrize(("kind", "event", "outcome"), RUDDERSTACK_ROWS)
def test_a_difference_from_rudderstack_is_as_the_page_says(kind: str, event: str, outcome: str) -> None:
    difference_as_written(imported(f"rudderstack_{kind}.json"), event, outcome)


@pytest.mark.parametrize(("event", "outcome"), [(row[0], row[2]) for row in rows("from-segment.md", columns=4)])
def test_a_difference_from_segment_is_as_the_page_says(event: str, outcome: str) -> None:
    [settings] = tomllib.loads(blocks("from-segment.md")["gateway.toml"])["destinations"].values()
    changes: dict[str, Any] = {"access_token": "-", "action_source": "physical_store"}
    changes |= SEGMENT_CONSENT if "setting `consent`" in event else {}
    difference_as_written(
        compile_mapper("meta", DestinationSettings.model_validate(settings | changes)), event, outcome
    )


def blocks(name: str) -> dict[str, str]:
    """The files that the page shows: the text before each block ends with the name of the file."""
    shown = re.findall(r"`([\w.]+)`[^`]*?:\n\n```(?:json|toml)\n(.*?)```", page(name), re.DOTALL)
    return dict(shown)


def commands(name: str) -> Iterator[str]:
    """The commands of the page, in their order. A block of another language has no commands."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page(name), re.DOTALL | re.MULTILINE):
        yield from block.splitlines() if not language else ()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("name", ["from-rudderstack.md", "from-segment.md"])
def test_the_commands_of_the_page_work(tmp_path: Path, name: str) -> None:
    for file, text in blocks(name).items():
        (tmp_path / file).write_text(text)
    ports = {"8080": free_port(), "8081": free_port(), "8099": free_port()}
    environ = os.environ | {
        "PATH": f"{program(tmp_path)}:{os.environ['PATH']}",
        "GATEWAY_SERVER__PORT": str(ports["8080"]),
        "GATEWAY_SERVER__DRAIN_DELAY": "0",
        "GATEWAY_ADMIN__PORT": str(ports["8081"]),
    }
    background: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands(name):
            line = re.sub("|".join(ports), lambda match: str(ports[match[0]]), command)
            if line.startswith("export "):
                environ |= dict(part.split("=", 1) for part in shlex.split(line)[1:])
            elif line.endswith(" &"):
                background.append(subprocess.Popen(shlex.split(line[:-2]), cwd=tmp_path, env=environ))
                await_port(ports["8099" if "sandbox" in line else "8080"])
            else:
                run(with_url(line, ports["8080"]), tmp_path, environ)
    finally:
        for process in reversed(background):
            process.terminate()
            process.wait(DEADLINE)
    assert (tmp_path / "mapped.jsonl").read_text().count('"event_name":"Purchase"') == 1


def program(folder: Path) -> Path:
    """A folder with the command `gateway` of this checkout."""
    folder = folder / "bin"
    folder.mkdir()
    script = folder / "gateway"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={TOP} exec {sys.executable} -m gateway "$@"\n')
    script.chmod(0o755)
    return folder


def with_url(line: str, port: int) -> str:
    """`gateway send` with the URL of this test's gateway instead of the default."""
    return f"{line} --url http://127.0.0.1:{port}" if line.startswith("gateway send") else line


def run(line: str, folder: Path, environ: dict[str, str]) -> None:
    """Run a command. One that asks the sandbox for events is run again until the first event of the page is there."""
    deadline = time.monotonic() + DEADLINE
    while True:
        done = subprocess.run(
            ["sh", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if "/_sandbox/events" not in line or '"event_id":"m-1"' in done.stdout:
            return
        assert time.monotonic() < deadline, f"no event in {done.stdout}"
        time.sleep(0.1)


def await_port(port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.05)
        else:
            return
