"""Entry point of `python -m gateway` and of the `gateway` command."""

import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        # This signal asks for a reload. It must not end the process before it is handled; the imports take long.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from gateway.cli import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    main()
