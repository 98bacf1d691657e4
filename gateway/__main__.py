"""Entry point of `python -m gateway` and of the `gateway` command."""


def main() -> None:
    """Run the command line."""
    from gateway.cli import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    main()
