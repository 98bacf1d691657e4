"""The tool that prints what the commands say before and after a change."""

from __future__ import annotations

from pathlib import Path

from gateway.model import Dialect
from tools import command_changes


def test_the_destination_of_an_export_is_shown(tmp_path: Path) -> None:
    export = command_changes.PROJECT / "tests/e2e/data/rudderstack_conversions.json"
    assert '"action_source": "physical_store"' in command_changes.imported(command_changes.PROJECT, export)

    (tmp_path / "empty.json").write_text("{}")
    refused = command_changes.imported(command_changes.PROJECT, tmp_path / "empty.json")
    assert refused.startswith("*")
    assert str(tmp_path) not in refused


def test_a_fault_of_the_settings_is_shown() -> None:
    shown = command_changes.checked(
        command_changes.PROJECT, "an event is mapped to a misspelt standard event", Dialect.OFFLINE
    )
    assert "did you mean 'Purchase'?" in shown
    assert "warning" not in shown


def test_a_version_that_cannot_be_started_is_not_taken_for_one_without_faults(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text("raise SystemExit('broken')")
    shown = command_changes.checked(tmp_path, "the ID of an event set is not digits", Dialect.CONVERSIONS)
    assert shown == "broken"
