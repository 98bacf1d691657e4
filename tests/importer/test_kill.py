"""An import that is killed several times sends each good row once, and writes each bad row once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importer import kill


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_three_kills_lose_no_row_and_repeat_none(tmp_path: Path) -> None:
    counts = kill.run(tmp_path, rows=30_000, kills=3, seed=11, rate=6000)
    assert counts["good_rows"] == 29_700
    assert counts["missing"] == counts["twice"] == 0
    assert counts["rejected"] == 300
