"""`gateway sandbox`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import fail


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="TCP port; 0 lets the operating system choose a free one.", min=0, max=65535)
    ] = 8099,
    token: Annotated[str | None, typer.Option(help="The only valid access token. Default: all are valid.")] = None,
    latency: Annotated[float, typer.Option(help="Seconds before each response.", min=0)] = 0.0,
    validate_share: Annotated[
        float, typer.Option(help="Fraction of the events to validate; lower it for load tests.", min=0, max=1)
    ] = 1.0,
    keep: Annotated[int, typer.Option(help="Number of the newest events to keep for inspection.", min=0)] = 10_000,
) -> None:
    """Run a simulation of Meta's Graph API.

    It accepts and refuses calls as Meta does, as far as its rules are known. Set `upload.graph_url` of a destination to
    its address. `/_sandbox/events` and `/_sandbox/stats` show the received events and calls, and `/_sandbox/faults`
    injects errors, delays and dropped connections.
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
