"""`gateway sandbox`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import fail


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 lets the system choose.", min=0, max=65535)] = 8099,
    token: Annotated[str | None, typer.Option(help="The only access token that is taken; default: any.")] = None,
    latency: Annotated[float, typer.Option(help="Seconds before every answer.", min=0)] = 0.0,
    validate_share: Annotated[
        float, typer.Option(help="Share of the events that are looked at closely.", min=0, max=1)
    ] = 1.0,
    keep: Annotated[int, typer.Option(help="Newest events that are kept to be looked at.", min=0)] = 10_000,
) -> None:
    """Run a stand-in for the Graph API that refuses what Meta refuses.

    Point `upload.graph_url` of a destination at it. `/_sandbox/events` and `/_sandbox/stats` show what arrived,
    `/_sandbox/faults` makes things go wrong.
    """
    from gateway.model import GatewayError
    from gateway.sandbox import SandboxOptions, run

    options = SandboxOptions(
        host=host, port=port, token=token, latency=latency, validate_share=validate_share, keep=keep
    )
    try:
        run(options)
    except GatewayError as error:
        fail(str(error))
