"""The command line: one module for each command.

A command imports the packages that it needs when it runs, because importing all of them would slow down every start.
"""

from __future__ import annotations

import typer

from gateway.cli import (
    backfill,
    check,
    dead_letters,
    demo,
    explain,
    import_rudderstack,
    map_events,
    resume,
    sandbox,
    send,
    serve,
    spool,
    version,
)

app = typer.Typer(
    name="gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("explain")(explain.explain)
app.command("map")(map_events.map_events)
app.command("resume")(resume.resume)
app.command("backfill")(backfill.backfill)
app.command("send")(send.send)
app.command("import-rudderstack")(import_rudderstack.import_rudderstack)
app.command("sandbox")(sandbox.sandbox)
app.command("demo")(demo.demo)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(spool.app, name="spool")
app.callback(help=version.DESCRIPTION)(version.callback)
