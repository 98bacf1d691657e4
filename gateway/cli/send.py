"""`gateway send`."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from typing import Annotated, Any

import typer

from gateway.cli.common import check_http_url, fail, print_json, print_line, read_input
from gateway.escaping import printable

MAX_ATTEMPTS = 8
MAX_DELAY = 60.0
"""Seconds before the next attempt, whatever the response says."""


def send(
    file: Annotated[str, typer.Argument(help="File with events, one JSON object per line; - reads stdin.")],
    write_key: Annotated[str, typer.Option(envvar="GATEWAY_WRITE_KEY", help="Write key of the source.")],
    url: Annotated[str, typer.Option(help="URL of the gateway.")] = "http://127.0.0.1:8080",
    batch: Annotated[int, typer.Option(help="Events per request.", min=1, max=2500)] = 100,
) -> None:
    """Send events from a file to a gateway.

    Prints how many events were accepted, ignored and rejected. Rejected events are reported on standard error, one JSON
    object per line. A request that fails with status 429 or 503 or without a response is sent again. Exit status 1 if
    an event is rejected.
    """
    check_http_url(url)
    lines = [line for line in read_input(file).splitlines() if line.strip()]
    accepted = ignored = 0
    rejected: dict[str, int] = {}
    for start in range(0, len(lines), batch):
        body = b'{"batch":[' + b",".join(lines[start : start + batch]) + b"]}"
        response = _post(f"{url}/v1/batch", body, write_key)
        accepted += response["accepted"]
        ignored += response["ignored"]
        for rejection in response["rejected"]:
            rejected[rejection["code"]] = rejected.get(rejection["code"], 0) + 1
            print_json({**rejection, "index": rejection["index"] + start}, error=True)
    print_line(f"accepted {accepted}, ignored {ignored}, rejected {sum(rejected.values())}")
    raise SystemExit(1 if rejected else 0)


def _post(url: str, body: bytes, write_key: str) -> dict[str, Any]:
    """Send one request until it succeeds; exits when it cannot."""
    import urllib.error
    import urllib.request

    authorization = "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    for attempt in range(1, MAX_ATTEMPTS + 1):
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 (http only, see above)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                result: dict[str, Any] = json.load(response)
                return result
        except urllib.error.HTTPError as error:
            text = error.read(2000).decode(errors="replace")
            if error.code not in {429, 503} or attempt == MAX_ATTEMPTS:
                fail(f"{url} answered with status {error.code}: {printable(text)}")
            time.sleep(_retry_after(error.headers.get("Retry-After")))
        except OSError as error:
            if attempt == MAX_ATTEMPTS:
                fail(f"cannot connect to {url} after {attempt} attempts: {getattr(error, 'reason', error)}")
            time.sleep(min(8.0, 0.25 * 2**attempt))
    raise AssertionError("unreachable")


def _retry_after(header: str | None) -> float:
    """The seconds in a `Retry-After` header, at most `MAX_DELAY`; 1 if it has none."""
    with suppress(ValueError):
        seconds = float(header or 1)
        if seconds >= 0:
            return min(seconds, MAX_DELAY)
    return 1.0
