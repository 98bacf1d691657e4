"""Fixtures: a settings file in a temporary folder, and a function that runs a command in this process with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app

Run = Callable[..., Result]

SETTINGS = """
[spool]
path = "{folder}/spool"
[sources.shop]
write_key = "wk"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "EAAB-never-to-be-seen"
standard_to_event_sets = {{ Purchase = ["1148872185708962"] }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS.format(folder=tmp_path))
    return path


@pytest.fixture
def run(config: Path) -> Run:
    """Run a command with `--config` set to the settings file."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(config)], input=stdin)

    return run
