"""The registry of fields: an incomplete or inconsistent entry is an error at import that names the field."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import MAPPED_FIELDS
from gateway.mapping import fields, normalise, shortcuts
from gateway.mapping.compiler import fast_path, slow_path
from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.coverage import Counters
from gateway.mapping.fields import CUSTOM, EVENT, IDENTITY, NAME, Field, Hashing, MatchKey, Special, check_registry
from tests.mapping.builders import destination

SENT = (*IDENTITY, *EVENT, *CUSTOM)
TOP = Path(__file__).parents[2]
LOYALTY: dict[str, Any] = {
    "name": "loyalty",
    "description": "trimmed",
    "paths": ("traits.loyalty",),
    "offline": "loyalty",
    "normalise": normalise.trimmed,
    "hashing": Hashing.ALWAYS,
}
"""A complete entry of an identity field."""
INITIAL = {**LOYALTY, "name": "initial", "paths": (), "offline": "i", "derived_from": "first_name"}
"""A complete entry of a derived field."""


def mistakes_with(*added: Field, extensible: tuple[str, ...] = ("loyalty",)) -> list[str]:
    """The lines of the error for the registry with more entries; empty if there is none."""
    try:
        check_registry((*SENT, *added), (NAME,), (*MAPPED_FIELDS, *extensible))
    except ValueError as error:
        return str(error).splitlines()
    return []


def test_a_complete_entry_is_accepted() -> None:
    assert mistakes_with(MatchKey(**LOYALTY)) == []
    assert mistakes_with(MatchKey(**INITIAL), extensible=()) == []


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"description": ""}, "field 'loyalty' has no description"),
        ({"paths": ()}, "field 'loyalty' has no source paths"),
        ({"offline": ()}, "field 'loyalty' has no key in any dialect"),
        ({"normalise": None}, "field 'loyalty' has no normaliser"),
        ({"normalise_by_country": normalise.zip_code}, "field 'loyalty' has two normalisers"),
        ({"hashing": None}, "field 'loyalty' does not say whether it is hashed"),
        (
            {"hashing": Hashing.NEVER, "shortcut": shortcuts.WORD},
            "field 'loyalty' has a shortcut, which only hashed fields can have",
        ),
        ({"offline": "email"}, "match key in offline 'email' is used by 2 fields"),
        ({"special": Special.COUNTRY}, "special case 'COUNTRY' is used by 2 fields"),
    ],
)
def test_an_incomplete_entry_is_an_error_that_names_the_field_and_the_mistake(
    change: dict[str, Any], mistake: str
) -> None:
    assert mistakes_with(MatchKey(**LOYALTY | change)) == [mistake]


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"paths": ("traits.i",)}, "field 'initial' is derived and has source paths of its own"),
        ({"derived_from": "f"}, "field 'initial' is derived from 'f', which is no earlier field"),
        (
            {"derived_from": "city"},
            "field 'initial' is derived from 'city'; only the first and last name can be a source",
        ),
        (
            {"many": True},
            "field 'initial' is derived and must be one hashed value that does not depend on the country",
        ),
    ],
)
def test_an_inconsistent_derived_entry_is_an_error(change: dict[str, Any], mistake: str) -> None:
    assert mistakes_with(MatchKey(**INITIAL | change), extensible=()) == [mistake]


def test_two_entries_with_one_name_are_an_error() -> None:
    twin = dataclasses.replace(MatchKey(**LOYALTY), offline="other")

    assert mistakes_with(MatchKey(**LOYALTY), twin) == ["name 'loyalty' is used by 2 fields"]


def test_the_settings_must_accept_the_names_of_all_fields_with_paths() -> None:
    assert mistakes_with(MatchKey(**LOYALTY), extensible=()) == [
        "field 'loyalty' has source paths and is not listed in MAPPED_FIELDS of gateway/config/settings.py"
    ]
    assert mistakes_with() == [
        "field 'loyalty' is listed in MAPPED_FIELDS of gateway/config/settings.py and has no entry"
    ]


def test_several_mistakes_are_reported_together() -> None:
    assert len(mistakes_with(MatchKey(name="loyalty"))) == 5


def test_an_incomplete_entry_fails_at_import(tmp_path: Path) -> None:
    source = Path(fields.__file__).read_text(encoding="utf-8")
    broken = tmp_path / "broken_fields.py"
    broken.write_text(source.replace("hashing=Hashing.ALWAYS,", "", 1), encoding="utf-8")
    environment = {"PYTHONPATH": str(TOP)}

    result = subprocess.run([sys.executable, broken], env=environment, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "ValueError: field 'email' does not say whether it is hashed" in result.stderr


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_every_field_of_a_dialect_is_read_by_the_fast_path(api: str) -> None:
    plan = Plan("store", destination(api), 32768, Counters())
    builder = SourceBuilder("fast_path")
    builder.open_all(["context.page", *(path.rpartition(".")[0] for paths in plan.paths.values() for path in paths)])
    fast_path.write(builder, plan)
    source = builder.source()

    keys = [key for field in IDENTITY if field.special is not Special.LEAD_ID for key in field.keys(plan.dialect)]

    assert [key for key in keys if f"m[{key!r}]" not in source] == []


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_the_slow_path_contains_no_code_of_single_identity_fields(api: str) -> None:
    plan = Plan("store", destination(api), 32768, Counters())
    builder = SourceBuilder("slow_path")
    slow_path.write(builder, plan)

    assert "extract_identity(event, at, now)" in builder.source()
    assert ".get(" not in builder.source()
