"""Help texts, shell completion, and the environment variable of the settings file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli import app
from tests.cli.conftest import call

ROOT = typer.main.get_command(app)


def commands(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = list(commands())


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_every_command_has_h_and_help(path: tuple[str, ...]) -> None:
    short, long = call(*path, "-h"), call(*path, "--help")
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert len(short.output.splitlines()) > 5


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("path", [path for path, command in ALL if hasattr(command, "commands")], ids=" ".join)
def test_the_list_of_commands_is_complete_at_any_width(path: tuple[str, ...], width: int) -> None:
    done = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [*path, "--help"])
    listed = " ".join(done.output.partition("Commands:")[2].split())
    group = dict(ALL)[path]
    for name, command in group.commands.items():
        first_sentence = " ".join(command.help.split("\n\n")[0].split()).split(". ")[0]
        assert f"{name} {first_sentence}" in listed
    assert "..." not in listed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_printed(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "COMPLETE" in done.stdout


def test_commands_and_options_are_completed() -> None:
    environ = {**os.environ, "_GATEWAY_COMPLETE": "complete_bash", "COMP_WORDS": "gateway sta", "COMP_CWORD": "1"}
    script = "import sys; sys.argv[0] = 'gateway'; from gateway.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split() == ["status"]


@pytest.mark.slow
def test_the_help_starts_fast() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gateway", "--help"], capture_output=True, check=True, timeout=30)
        return time.perf_counter() - start

    # 0.15 s on an idle machine. The fastest run counts, since others may use the cores.
    assert min(seconds() for _ in range(5)) < 0.5


def test_the_settings_file_may_be_named_by_an_environment_variable(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    renamed = config.rename(tmp_path / "other.toml")
    assert call("check").exit_code == 78
    monkeypatch.setenv("GATEWAY_CONFIG", str(renamed))
    assert call("check").exit_code == 0
    assert call("check", "--config", "nope.toml").exit_code == 78, "the option takes precedence"
