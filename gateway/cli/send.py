"""`gateway send`."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Annotated, Any

import typer

from gateway.cli.common import fail, read_input

TRIES = 8


def send(
    file: Annotated[str, typer.Argument(help="Events, one JSON object a line; - is standard input.")],
    write_key: Annotated[str, typer.Option(envvar="GATEWAY_WRITE_KEY", help="The source's write key.")],
    url: Annotated[str, typer.Option(help="The gateway.")] = "http://127.0.0.1:8080",
    batch: Annotated[int, typer.Option(help="Events in a request.", min=1, max=2500)] = 100,
) -> None:
    """Send events to a gateway in batches. 429 and 503 are tried again, as `Retry-After` says.

    Prints what became of them; exit status 1 when some were rejected.
    """
    if not url.startswith(("http://", "https://")):
        fail(f"--url has {url}; it may be an http or https address", 2)
    lines = [line for line in read_input(file).splitlines() if line.strip()]
    accepted = ignored = 0
    rejected: dict[str, int] = {}
    for start in range(0, len(lines), batch):
        body = b'{"batch":[' + b",".join(lines[start : start + batch]) + b"]}"
        answer = _posted(f"{url}/v1/batch", body, write_key)
        accepted += answer["accepted"]
        ignored += answer["ignored"]
        for one in answer["rejected"]:
            rejected[one["code"]] = rejected.get(one["code"], 0) + 1
            print(json.dumps({**one, "index": one["index"] + start}), file=sys.stderr)  # noqa: T201
    typer.echo(f"accepted {accepted}, ignored {ignored}, rejected {sum(rejected.values())}")
    raise SystemExit(1 if rejected else 0)


def _posted(url: str, body: bytes, write_key: str) -> dict[str, Any]:
    import urllib.error
    import urllib.request

    authorization = "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    for tried in range(1, TRIES + 1):
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 (http only, see above)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            if error.code not in {429, 503} or tried == TRIES:
                fail(f"{url} answered {error.code}: {said}")
            time.sleep(float(error.headers.get("Retry-After") or 1))
        except OSError as error:
            if tried == TRIES:
                fail(f"{url} does not answer ({getattr(error, 'reason', error)})")
            time.sleep(min(8.0, 0.25 * 2**tried))
    raise AssertionError("unreachable")
