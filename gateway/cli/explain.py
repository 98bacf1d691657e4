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
    print_json,
    read_input,
    settings_or_exit,
)
from gateway.cli.json_input import InputEvent, events_in
from gateway.escaping import printable

if TYPE_CHECKING:
    from gateway.mapping.explain import Explanation, Step


WIDTH = 140
"""Columns of the table when the output is not a terminal."""
HASH = re.compile("[0-9a-f]{64}")


def explain(
    file: Annotated[
        str, typer.Argument(help="File with events as JSON, one per line or not; - reads standard input.")
    ] = "-",
    config: ConfigPath = DEFAULT_CONFIG,
    destination: Annotated[
        str | None, typer.Option(help="Name of the destination; required if there are several.")
    ] = None,
    as_json: AsJson = False,
    source: Annotated[
        bool, typer.Option("--source", help="Print the generated mapping code of the destination and exit.")
    ] = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Print personal values in full. By default they are masked.")
    ] = False,
) -> None:
    """Show field by field how an event is mapped.

    The file has one event or several: one JSON object per line, JSON over several lines, or one JSON array. For each
    field: the path where its value was found, the value, the normalised value, and the value that is uploaded
    or the reason why there is none. Nothing is sent. Exit status 1 if an event is rejected.
    """
    settings = settings_or_exit(config)
    name, destination_settings = destination_or_exit(settings, destination)
    from gateway.ingest.decode import BadRequest, decode
    from gateway.mapping import compile_mapper
    from gateway.mapping.explain import explain as explain_event

    mapper = compile_mapper(name, destination_settings, settings.server.max_event_bytes)
    if source:
        typer.echo(mapper.source_code)
        return
    is_rejected = False
    for given in _events(file):
        try:
            event = decode(given.text)
        except BadRequest as error:
            fail(f"line {given.line}: {error}")
        explanation = explain_event(mapper, event, int(time.time()))
        is_rejected = is_rejected or explanation.rejection is not None
        if as_json:
            print_json(_as_json(explanation, show_values), indent=2)
        else:
            _print(explanation, show_values)
    raise SystemExit(1 if is_rejected else 0)


def _events(file: str) -> list[InputEvent]:
    """The events of a file; exits when it has none."""
    found = list(events_in(read_input(file).splitlines(keepends=True)))
    if not found:
        fail(f"{file}: no event; expected JSON")
    return found


def _step_as_json(step: Step, show: bool) -> dict[str, Any]:
    from gateway.mapping.masking import NOT_PERSONAL, masked

    def value_of(value: Any) -> Any:
        return value if show or step.field in NOT_PERSONAL else masked(value)

    return {
        **dataclasses.asdict(step),
        "tried": list(step.tried),
        "raw": value_of(step.raw),
        "normalised": value_of(step.normalised),
    }


def _as_json(explanation: Explanation, show: bool) -> dict[str, Any]:
    rejection = explanation.rejection
    return {
        "destination": explanation.destination,
        "api": explanation.dialect.value,
        "event": explanation.event,
        "routes": [
            {"standard": route.standard, "event_sets": list(route.event_sets), "configured": route.configured}
            for route in explanation.routes
        ],
        "fields": [_step_as_json(step, show) for step in explanation.steps],
        "uploads": [dataclasses.asdict(upload) for upload in explanation.uploads],
        "rejection": None
        if rejection is None
        else {"code": rejection.code, "message": rejection.message, "remedy": explanation.remedy},
        "ignored": explanation.ignored,
        "not_sent": explanation.not_sent,
    }


def _print(explanation: Explanation, show: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if Console().is_terminal else WIDTH
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    for route in explanation.routes:
        event_sets = ", ".join(route.event_sets) or "no event set (standard_to_event_sets lists none for it)"
        console.print(printable(f"{explanation.event} -> {route.standard} -> {event_sets}"))
    if explanation.rejection is not None:
        console.print(printable(f"rejected: {explanation.rejection.code}. {explanation.rejection.message}"))
    if explanation.ignored:
        console.print("ignored: the event's `integrations` exclude this destination")
    if explanation.not_sent is not None:
        console.print("consent_denied: the event denies the consent that this destination needs; nothing of it is kept")
    table = Table(title=f"{explanation.destination}, {explanation.dialect}", show_lines=False)
    for heading in ("field", "key", "found at", "value", "normalised", "uploaded"):
        table.add_column(heading, overflow="fold")
    for step in explanation.steps:
        row = _step_as_json(step, show)
        uploaded = f"dropped: {step.dropped}" if step.dropped else _shortened(row["sent"])
        path = step.path or (f"no value (paths tried: {len(step.tried)})" if step.tried else "")
        cells = (step.field, step.key, path, _shortened(row["raw"]), _shortened(row["normalised"]), uploaded)
        table.add_row(*(Text(printable(cell)) for cell in cells), style=_style(step))
    console.print(table)
    for upload in explanation.uploads:
        content_type = upload.body.get("content_type", upload.body.get("custom_data", {}).get("content_type"))
        console.print(
            printable(
                f"{upload.body['event_name']} to event set {upload.event_set}, upload tag {upload.upload_tag}, "
                f"content_type {content_type}"
            )
        )


def _shortened(value: Any) -> str:
    """The value as text for one cell: hashes and long texts are cut in the middle."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = HASH.sub(lambda match: f"{match[0][:8]}...{match[0][-4:]}", text)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-12:]}"


def _style(step: Step) -> str:
    if step.dropped:
        return "red"
    return "" if step.sent is not None else "dim"
