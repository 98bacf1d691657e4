"""docs/backfill.md: its options, codes, fields and limits are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app
from gateway.importer.fields import FIELDS
from gateway.importer.run import BATCH_CALLS, MAX_IN_DOUBT
from gateway.importer.settings import ImportSettings

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "backfill.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted((TOP / "gateway" / "importer").glob("*.py")))


def test_every_option_on_the_page_exists() -> None:
    help_text = CliRunner().invoke(app, ["backfill", "--help"], env={"COLUMNS": "200"}).output
    options = set(re.findall(r"`(?:gateway backfill [^`]*)?(--[a-z-]+)", PAGE))
    assert {"--yes", "--init", "--columns", "--rate", "--restart"} <= options
    assert {option for option in options if option not in help_text} == set()


def test_every_rejection_code_of_the_import_is_on_the_page() -> None:
    codes = set(re.findall(r'Rejection\(\s*"([a-z_]+)"', SOURCES))
    codes |= {"ambiguous_date", "no_time_zone", "ambiguous_number", "invalid_json"}
    assert len(codes) > 12
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


def test_the_settings_on_the_page_are_valid() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = ImportSettings.model_validate(tomllib.loads(example))
    assert settings.columns["email"] == ("E-Mail", "E-Mail 2")
    for field in ("time_of_day", "birth_year"):
        assert field in FIELDS


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    assert f"At most {MAX_IN_DOUBT:,} rows after them are in doubt" in PAGE
    assert f"up to {BATCH_CALLS} rows are in flight" in PAGE
