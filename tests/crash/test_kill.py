"""A gateway that is killed repeatedly at random instants loses no acknowledged event."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash import kill


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_twelve_kills_lose_no_acknowledged_event(tmp_path: Path) -> None:
    seed = int(os.environ.get("GATEWAY_CRASH_SEED", "0")) or int.from_bytes(os.urandom(3))
    counts = kill.run(tmp_path, kills=12, seed=seed)
    print(counts)
    assert counts["kills"] == 12
    assert counts["lost"] == 0
