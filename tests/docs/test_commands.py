"""The commands in the page about commands run as they are written there, and its example of a test file passes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from tests.e2e.environment import TOKEN, WRITE_KEY, Environment, sale, until

TEXT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line for kind, block in BLOCKS if not kind for line in block.splitlines() if re.match("gateway [a-z]", line)
]
(TEST_FILE,) = [block for kind, block in BLOCKS if kind == "toml"]


def run(env: Environment, line: str) -> Result:
    """Run a line of the page, with the ports of an environment in place of those of the page."""
    line = line.replace("http://127.0.0.1:8080", env.url).replace("wk-of-the-shop", WRITE_KEY)
    return CliRunner().invoke(app, shlex.split(line)[1:])


def test_the_page_has_commands_and_a_test_file() -> None:
    assert len(COMMANDS) > 12
    assert "[[tests]]" in TEST_FILE


@pytest.mark.slow
def test_every_command_of_the_page_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Environment(tmp_path) as env, env.start():
        settings = env.folder / "gateway.toml"
        # The page has one destination.
        text = settings.read_text().replace('destinations = ["store", "legacy"]', 'destinations = ["store"]')
        settings.write_text(re.sub(r"\[destinations\.legacy\].*", "", text, flags=re.DOTALL))
        (tmp_path / "sales.toml").write_text(TEST_FILE)
        (tmp_path / "event.json").write_text(json.dumps(sale(7), indent=2))
        (tmp_path / "events.jsonl").write_text("\n".join(json.dumps(sale(number)) for number in (8, 9)))
        env.track(sale(1), sale(2, event="Loyalty Card Scanned"))
        until(lambda: env.ledger()["delivered"] == 2, "the delivery")
        monkeypatch.chdir(env.folder)
        monkeypatch.setenv("TEST_META_TOKEN", TOKEN)
        monkeypatch.setenv("GATEWAY_ADMIN__PORT", env.admin.rpartition(":")[2])
        for line in COMMANDS:
            done = run(env, line)
            assert done.exit_code == 0, f"{line}\n{done.output}"
            assert done.stdout, line
            assert TOKEN not in done.output
        updated = (tmp_path / "sales.toml").read_text()
        assert updated == TEST_FILE, "the example passes, so that --update changes nothing"
