"""Killed at random instants, again and again, the gateway loses nothing that it acknowledged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash import kill


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_thirty_kills_lose_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("GATEWAY_CRASH_SEED", "0")) or int.from_bytes(os.urandom(3))
    verdict = kill.run(tmp_path, kills=30, seed=seed)
    print(verdict)
    assert verdict["kills"] == 30
    assert verdict["lost"] == 0
