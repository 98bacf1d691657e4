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
    quality,
    resume,
    sandbox,
    send,
    serve,
    spool,
    status,
    tap,
    test,
    trace,
    version,
)
from gateway.cli.full_help import FullHelpGroup

app = typer.Typer(
    name="gateway",
    cls=FullHelpGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("status")(status.status)
app.command("tap")(tap.tap)
app.command("trace")(trace.trace)
app.command("quality")(quality.quality)
app.command("resume")(resume.resume)
app.command("explain")(explain.explain)
app.command("map")(map_events.map_events)
app.command("test")(test.run_tests)
app.command("backfill")(backfill.backfill)
app.command("send")(send.send)
app.command("import-rudderstack")(import_rudderstack.import_rudderstack)
app.command("sandbox")(sandbox.sandbox)
app.command("demo")(demo.demo)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(spool.app, name="spool")
app.callback(help=version.DESCRIPTION)(version.callback)
