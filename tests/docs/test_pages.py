"""The documentation: generated pages are up to date, links have a target, and the example settings are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import reference_pages

TOP = Path(__file__).parents[2]
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("requirements/*.md")])


@pytest.mark.parametrize("name", sorted(reference_pages.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = (TOP / "docs" / name).read_text(encoding="utf-8")
    assert page == reference_pages.PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_within_the_project_have_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.config import load

    for name in ("SHOP_WRITE_KEY", "META_TOKEN"):
        monkeypatch.setenv(name, "a-value")
    settings = load(TOP / "gateway.example.toml", {})
    assert settings.destinations
    assert settings.sources
