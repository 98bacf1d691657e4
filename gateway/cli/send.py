"""`gateway send`."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from typing import Annotated, Any

import typer

from gateway.cli.common import check_http_url, fail, print_json, print_line, read_input
from gateway.cli.json_input import events_in
from gateway.escaping import printable

MAX_ATTEMPTS = 8
CONNECT_SECONDS = 3.0
"""Seconds after which a gateway that has never answered counts as not running."""
MAX_DELAY = 60.0
"""Seconds before the next attempt, whatever the response says."""


def send(
    file: Annotated[str, typer.Argument(help="File with events as JSON, one per line or not; - reads stdin.")],
    write_key: Annotated[str, typer.Option(envvar="GATEWAY_WRITE_KEY", help="Write key of the source.")],
    url: Annotated[str, typer.Option(help="URL of the gateway.")] = "http://127.0.0.1:8080",
    batch: Annotated[int, typer.Option(help="Events per request.", min=1, max=2500)] = 100,
) -> None:
    """Send events from a file to a gateway.

    The file has one JSON object per line, or JSON over several lines, or one JSON array. Prints how many events were
    accepted, ignored and rejected. Rejected events are reported on standard error, one JSON object per line. A request
    that fails with status 429 or 503 or without a response is sent again, but if there has been no connection to the
    gateway at all, the command ends after a few seconds. Exit status 1 if an event is rejected.
    """
    check_http_url(url)
    events = _read_events(file)
    connection = _Connection(f"{url}/v1/batch", write_key)
    accepted = ignored = 0
    rejected: dict[str, int] = {}
    for start in range(0, len(events), batch):
        body = b'{"batch":[' + b",".join(events[start : start + batch]) + b"]}"
        response = connection.post(body)
        accepted += response["accepted"]
        ignored += response["ignored"]
        for rejection in response["rejected"]:
            rejected[rejection["code"]] = rejected.get(rejection["code"], 0) + 1
            print_json({**rejection, "index": rejection["index"] + start}, error=True)
    print_line(f"accepted {accepted}, ignored {ignored}, rejected {sum(rejected.values())}")
    raise SystemExit(1 if rejected else 0)


def _read_events(file: str) -> list[bytes]:
    """The events of a file; exits when a text in it is no JSON, before anything is sent."""
    events = []
    for given in events_in(read_input(file).splitlines(keepends=True)):
        try:
            json.loads(given.text)
        except (ValueError, RecursionError):
            fail(f"{file}, line {given.line}: no JSON; nothing was sent")
        events.append(given.text)
    return events


class _Connection:
    """Sends requests to the gateway until they succeed."""

    def __init__(self, url: str, write_key: str) -> None:
        self._url = url
        authorization = "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()
        self._headers = {"Authorization": authorization, "Content-Type": "application/json"}
        self._has_answered = False

    def post(self, body: bytes) -> dict[str, Any]:
        """The response to a request; exits when there is none."""
        import urllib.error
        import urllib.request

        give_up_at = time.monotonic() + CONNECT_SECONDS
        for attempt in range(1, MAX_ATTEMPTS + 1):
            request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310 (http only)
            try:
                with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                    result: dict[str, Any] = json.load(response)
                    self._has_answered = True
                    return result
            except urllib.error.HTTPError as error:
                self._has_answered = True
                text = error.read(2000).decode(errors="replace")
                if error.code not in {429, 503} or attempt == MAX_ATTEMPTS:
                    fail(f"{self._url} answered with status {error.code}: {printable(text)}")
                time.sleep(_retry_after(error.headers.get("Retry-After")))
            except OSError as error:
                reason = getattr(error, "reason", error)
                delay = min(8.0, 0.25 * 2**attempt)
                is_over = not self._has_answered and time.monotonic() + delay > give_up_at
                if is_over or attempt == MAX_ATTEMPTS:
                    fail(f"cannot connect to {self._url} after {attempt} attempts: {reason}; is the gateway running?")
                if attempt == 1:
                    print_line(f"cannot connect to {self._url}: {reason}; trying again", error=True)
                time.sleep(delay)
        raise AssertionError("unreachable")


def _retry_after(header: str | None) -> float:
    """The seconds in a `Retry-After` header, at most `MAX_DELAY`; 1 if it has none."""
    with suppress(ValueError):
        seconds = float(header or 1)
        if seconds >= 0:
            return min(seconds, MAX_DELAY)
    return 1.0
