"""`gateway dead-letters`: what a running gateway could not deliver."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import DEFAULT_CONFIG, AsJson, ConfigPath, fail, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="Look at what a running gateway could not deliver.", no_args_is_help=True)

AdminUrl = Annotated[str | None, typer.Option("--url", help="The admin address; default: as the settings say.")]


@app.command("list")
def list_letters(
    config: ConfigPath = DEFAULT_CONFIG,
    url: AdminUrl = None,
    code: Annotated[str | None, typer.Option(help="Only this code.")] = None,
    as_json: AsJson = False,
) -> None:
    """One line for each: number, time, stage, code, destination."""
    from datetime import UTC, datetime

    for letter in _letters(config, url):
        if code not in {None, letter["code"]}:
            continue
        if as_json:
            typer.echo(json.dumps({key: value for key, value in letter.items() if key != "event"}))
        else:
            at = datetime.fromtimestamp(letter["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
            lane = letter["event_set"] or letter["source"] or ""
            typer.echo(
                f"{letter['number']:>8}  {at}  {letter['stage']:<8} {letter['code']:<28} {letter['destination']} {lane}"
            )


@app.command("show")
def show(number: int, config: ConfigPath = DEFAULT_CONFIG, url: AdminUrl = None) -> None:
    """Everything about one of them, its event included."""
    found = next(_letters(config, url, after=number - 1, limit=1), None)
    if found is None or found["number"] != number:
        fail(f"there is no dead letter {number}")
    typer.echo(json.dumps(found, indent=2))


@app.command("export")
def export(config: ConfigPath = DEFAULT_CONFIG, url: AdminUrl = None) -> None:
    """All of them, one JSON object a line."""
    for letter in _letters(config, url):
        typer.echo(json.dumps(letter))


def _letters(config: Any, url: str | None, after: int = 0, limit: int = 500) -> Iterator[dict[str, Any]]:
    headers = {}
    if url is None:
        admin = settings_or_exit(config).admin
        url = f"http://{admin.host}:{admin.port}"
        if admin.token is not None:
            headers["Authorization"] = f"Bearer {admin.token.reveal()}"
    if not url.startswith(("http://", "https://")):
        fail(f"--url has {url}; it may be an http or https address", 2)
    while True:
        request = urllib.request.Request(f"{url}/dead-letters?after={after}&limit={limit}", headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (http only, see above)
                found = json.load(answer)["dead_letters"]
        except urllib.error.HTTPError as error:
            fail(f"{url} answered {error.code}: {error.read(300).decode(errors='replace')}")
        except OSError as error:
            reason = getattr(error, "reason", error)
            fail(f"{url} does not answer ({reason}); is the gateway running?")
        yield from found
        if len(found) < limit or limit == 1:
            return
        after = found[-1]["number"]
