"""Commands that cannot be undone show what they would change, and ask."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.config import load
from gateway.model import DeadLetter, Lane, Stage
from gateway.spool import create_spool
from tests.cli.conftest import Run
from tests.cli.test_commands import fill_spool

LANE = Lane("store", "1148872185708962", "t")
COMMANDS = [
    ["dead-letters", "discard", "--all"],
    ["spool", "discard", "--destination", "store"],
    ["spool", "recover"],
]


@pytest.fixture(autouse=True)
def _spool(config: Path) -> None:
    """A spool with two waiting events and three dead letters."""
    fill_spool(config, LANE)
    write_dead_letters(config, "expired", "refused", "refused")


def write_dead_letters(config: Path, *codes: str, age: float = 9.0) -> None:
    """Write dead letters with these codes, `age` seconds old."""
    at = time.time() - age
    letters = [DeadLetter(Stage.UPLOAD, code, "refused", "store", None, LANE, at, 1, None, b"{}") for code in codes]

    async def append() -> None:
        spool = create_spool(load(config, {}).spool, time.time)
        await spool.open()
        await spool.append([], letters)
        await spool.close()

    asyncio.run(append())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.common.is_interactive", lambda: True)


def content(run: Run) -> str:
    return run("spool", "verify").output


INTACT = "spool.sqlite: 2 waiting events and 3 dead letters are intact\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_terminal_and_without_yes_nothing_is_changed(run: Run, command: list[str]) -> None:
    done = run(*command)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith("There is no terminal to ask; add --yes to confirm.")
    assert done.stdout == ""
    assert content(run) == INTACT


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("answer", ["n\n", "\n"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_changed_unless_the_answer_is_yes(run: Run, command: list[str], answer: str) -> None:
    done = run(*command, stdin=answer)
    assert done.exit_code == 1
    assert done.stderr.endswith("nothing was changed\n")
    assert content(run) == INTACT


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_answer_of_yes_and_the_option_have_the_same_effect(run: Run, command: list[str]) -> None:
    answered = run(*command, stdin="y\n")
    assert answered.exit_code == 0, answered.output
    assert answered.stdout.splitlines()
    confirmed = run(*command, "--yes")
    assert confirmed.exit_code == 0, confirmed.output
    assert "?" not in confirmed.stderr, "nothing is asked"


@pytest.mark.usefixtures("terminal")
def test_a_deletion_shows_how_many_dead_letters_of_each_code_it_deletes(run: Run) -> None:
    done = run("dead-letters", "discard", "--all", stdin="n\n")
    assert done.stderr.startswith("       2 refused\n       1 expired\nDelete 3 dead letters permanently?")
    done = run("dead-letters", "discard", "--code", "expired", stdin="y\n")
    assert done.stderr.startswith("       1 expired\nDelete 1 dead letters permanently?")
    assert done.stdout.endswith("discarded 1 dead letters\n")


def test_a_dead_letter_that_is_written_after_the_preview_is_not_deleted(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_late(_: str, *, yes: bool) -> None:  # noqa: ARG001 (the parameter of `confirm`)
        write_dead_letters(config, "refused", age=-5.0)

    monkeypatch.setattr("gateway.cli.dead_letters.confirm", answer_late)
    assert run("dead-letters", "discard", "--all").stdout == "discarded 3 dead letters\n"
    assert content(run) == "spool.sqlite: 2 waiting events and 1 dead letters are intact\n"


def test_a_deletion_of_nothing_does_not_ask(run: Run) -> None:
    done = run("dead-letters", "discard", "--code", "nope")
    assert done.exit_code == 0
    assert "--yes" not in done.stderr


@pytest.mark.usefixtures("terminal")
def test_the_preview_counts_at_most_some_thousand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.dead_letters.MAX_PREVIEW", 2)
    assert "Delete more than 2 dead letters permanently?" in run("dead-letters", "discard", "--all", stdin="n\n").stderr


@pytest.mark.usefixtures("terminal")
def test_a_recovery_shows_the_state_of_each_file(run: Run) -> None:
    done = run("spool", "recover", stdin="n\n")
    assert done.stderr.startswith(
        "spool.sqlite: no damage found; 2 waiting events and 3 dead letters are intact\nRebuild these files?"
    )
