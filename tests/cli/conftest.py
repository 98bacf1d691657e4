"""Fixtures: a settings file, a function that runs a command in this process with it, and a prepared admin port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app

Run = Callable[..., Result]

SETTINGS = """
[spool]
path = "{folder}/spool"
[sources.shop]
write_key = "wk"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "EAAB-never-to-be-seen"
standard_to_event_sets = {{ Purchase = ["1148872185708962"] }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS.format(folder=tmp_path))
    return path


@pytest.fixture
def run(config: Path) -> Run:
    """Run a command with `--config` set to the settings file."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(config)], input=stdin)

    return run


class FakeAdmin:
    """An admin port that gives prepared answers, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        """By path: the answer, or a list of answers of which each is given once and the last one from then on."""
        self.requests: list[str] = []
        self.url = ""

    def answer(self, path: str) -> Any:
        answer = self.answers.get(path)
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer


@pytest.fixture
def admin() -> Iterator[FakeAdmin]:
    fake = FakeAdmin()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            fake.requests.append(f"{self.command} {self.path}")
            answer = fake.answer(self.path.partition("?")[0])
            missing = {"code": "unknown_route", "message": "There is no such route."}
            body = json.dumps(missing if answer is None else answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 (names of the base class)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


def call(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command without settings."""
    return CliRunner().invoke(app, list(arguments), input=stdin)
