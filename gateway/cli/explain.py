"""`gateway explain`."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    destination_or_exit,
    fail,
    read_input,
    settings_or_exit,
)

if TYPE_CHECKING:
    from gateway.mapping.explain import Explanation, Step


WIDTH = 140
"""Columns of the table where no terminal says how many there are."""
HASH = re.compile("[0-9a-f]{64}")


def explain(
    file: Annotated[str, typer.Argument(help="One event as JSON; - is standard input.")] = "-",
    config: ConfigPath = DEFAULT_CONFIG,
    destination: Annotated[str | None, typer.Option(help="Which destination; not needed if there is one.")] = None,
    as_json: AsJson = False,
    source: Annotated[bool, typer.Option("--source", help="Print the compiled mapper and exit.")] = False,
    show_values: Annotated[bool, typer.Option(help="Show personal values; they are masked otherwise.")] = False,
) -> None:
    """Show what becomes of an event, field by field: the path that won, the value, what is sent, or why it is not.

    Exit status 1 when the event is rejected.
    """
    settings = settings_or_exit(config)
    name, chosen = destination_or_exit(settings, destination)
    from gateway.ingest.decode import BadRequest, decode
    from gateway.mapping import compile_mapper
    from gateway.mapping.explain import explain as explained

    mapper = compile_mapper(name, chosen, settings.server.max_event_bytes)
    if source:
        typer.echo(mapper.source_code)
        return
    try:
        event = decode(read_input(file))
    except BadRequest as error:
        fail(str(error))
    found = explained(mapper, event, int(time.time()))
    if as_json:
        typer.echo(json.dumps(_as_json(found, show_values), indent=2, ensure_ascii=False))
    else:
        _print(found, show_values)
    raise SystemExit(1 if found.rejection else 0)


def _masked(value: Any, show: bool) -> Any:
    """A value that shows its shape and not itself."""
    if show or value is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_masked(one, show) for one in value]
    if isinstance(value, dict):
        return {key: _masked(one, show) for key, one in value.items()}
    text = str(value)
    return text[0] + "*" * (len(text) - 1) if len(text) < 6 else f"{text[0]}{'*' * (len(text) - 2)}{text[-1]}"


def _shown(step: Step, show: bool) -> dict[str, Any]:
    personal = step.field not in {
        *("event_time", "action_source", "event_source_url", "event_id", "upload_tag"),
        *("value", "currency", "order_id", "item_number", "contents"),
    }
    hide = personal and not show
    return {
        **dataclasses.asdict(step),
        "tried": list(step.tried),
        "raw": _masked(step.raw, not hide),
        "normalised": _masked(step.normalised, not hide),
    }


def _as_json(found: Explanation, show: bool) -> dict[str, Any]:
    return {
        "destination": found.destination,
        "api": found.dialect.value,
        "event": found.event,
        "routes": [
            {"standard": route.standard, "event_sets": list(route.event_sets), "configured": route.configured}
            for route in found.routes
        ],
        "fields": [_shown(step, show) for step in found.steps],
        "uploads": [dataclasses.asdict(upload) for upload in found.uploads],
        "rejection": None
        if found.rejection is None
        else {"code": found.rejection.code, "message": found.rejection.message, "mend": found.remedy},
        "ignored": found.ignored,
    }


def _print(found: Explanation, show: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for route in found.routes:
        where = ", ".join(route.event_sets) or "nowhere: no event set is listed for it"
        console.print(f"{found.event} -> {route.standard} -> {where}", markup=False)
    if found.rejection is not None:
        console.print(f"rejected: {found.rejection.code}. {found.rejection.message}", markup=False)
    if found.ignored:
        console.print("ignored: `integrations` switches this destination off")
    title = f"{found.destination}, {found.dialect}"
    table = Table(title=title, show_lines=False)
    for heading in ("field", "key", "from", "value", "normalised", "sent"):
        table.add_column(heading, overflow="fold")
    for step in found.steps:
        shown = _shown(step, show)
        sent = f"dropped: {step.dropped}" if step.dropped else _short(shown["sent"])
        source = step.path or (f"nothing at {len(step.tried)} paths" if step.tried else "")
        table.add_row(
            step.field, step.key, source, _short(shown["raw"]), _short(shown["normalised"]), sent, style=_style(step)
        )
    console.print(table)
    for upload in found.uploads:
        console.print(
            f"{upload.body['event_name']} to event set {upload.event_set}, upload tag {upload.upload_tag}, "
            f"content_type {upload.body.get('content_type', upload.body.get('custom_data', {}).get('content_type'))}",
            markup=False,
        )


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = HASH.sub(lambda found: f"{found[0][:8]}...{found[0][-4:]}", text)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-12:]}"


def _style(step: Step) -> str:
    if step.dropped:
        return "red"
    return "" if step.sent is not None else "dim"
