"""`gateway map`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, destination_or_exit, fail, print_json, settings_or_exit
from gateway.cli.json_input import events_in


def map_events(
    file: Annotated[str, typer.Argument(help="File with events as JSON, one per line or not; - reads stdin.")] = "-",
    config: ConfigPath = DEFAULT_CONFIG,
    destination: Annotated[
        str | None, typer.Option(help="Name of the destination; required if there are several.")
    ] = None,
) -> None:
    """Map events without sending them.

    The file has one JSON object per line, or JSON over several lines, or one JSON array. Prints one JSON object per
    line for each mapped event; an event is mapped once for each event set that receives it. Rejected events are
    reported on standard error, also as one JSON object per line. Exit status 1 if an event is rejected.
    """
    settings = settings_or_exit(config)
    name, destination_settings = destination_or_exit(settings, destination)
    import orjson

    from gateway.escaping import ascii_json
    from gateway.ingest.decode import BadRequest, decode
    from gateway.mapping import compile_mapper
    from gateway.model import Rejection

    mapper = compile_mapper(name, destination_settings, settings.server.max_event_bytes)
    rejected = 0
    try:
        lines = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115, PTH123 (closed below)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    from rich.console import Console
    from rich.progress import track

    with lines:
        console = Console(stderr=True)
        tracked = track(lines, "mapping", console=console) if console.is_terminal and file != "-" else lines
        for given in events_in(tracked):
            try:
                mapped = mapper.map(decode(given.text), int(time.time()))
            except BadRequest as error:
                mapped = Rejection(error.code, str(error))
            if isinstance(mapped, Rejection):
                rejected += 1
                report = {"line": given.line, "code": mapped.code, "message": mapped.message}
                print_json(report, error=True)
                continue
            for event in mapped if isinstance(mapped, list) else ():
                lane = event.lane
                head = orjson.dumps({"event_set": lane.event_set, "upload_tag": lane.upload_tag})
                sys.stdout.buffer.write(ascii_json(head[:-1] + b',"event":' + event.body + b"}") + b"\n")
    sys.stdout.flush()
    raise SystemExit(1 if rejected else 0)
