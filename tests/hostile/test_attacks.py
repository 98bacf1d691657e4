"""Hostile senders against a real gateway: they cost themselves, and an honest sender is served meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.environment import WRITE_KEY, Environment, get, sale
from tests.hostile.attacks import attacking
from tests.hostile.observer import HonestSender, Observer
from tests.hostile.requests import Target

MIB = 2**20
MAX_MEMORY = 64 * MIB
BASE = 90 * MIB
"""Resident memory of a gateway under an ordinary load, and of what is not counted in the budget."""
MAX_P99 = 1.0
MAX_LATE = 0.5
"""Seconds. Other tests may use both cores meanwhile. Alone, the soak and these tests stay below 0.25 s for each."""
LETTERS = 20


@pytest.mark.proof
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("attacks", "seconds"),
    [
        (["pipelined_requests", "trickled_bodies", "empty_objects", "upload_tags"], 8),
        (["shared_integrations", "broken_json"], 4),
        (["malformed_requests", "disconnects", "idle_connections"], 4),
    ],
    ids=["memory", "loop", "connections"],
)
def test_hostile_senders_cost_themselves_and_nobody_else(
    attacks: Sequence[str], seconds: float, tmp_path: Path
) -> None:
    with Environment(tmp_path, server=f'max_memory = "{MAX_MEMORY // MIB}MiB"') as env, env.start() as process:
        for number in range(LETTERS):
            env.track(sale(900_000 + number, event="Not Mapped"))
        observer = Observer(process)
        with (
            HonestSender(env.url, WRITE_KEY, first=100_000) as sender,
            attacking(Target.of(env.url, WRITE_KEY), *attacks, seconds=seconds) as attackers,
        ):
            counts = attackers.counts()
        assert all(counts[name] for name in attacks if name != "idle_connections"), counts
        assert observer.peak() < BASE + MAX_MEMORY
        assert sender.p99() < MAX_P99
        assert set(sender.statuses) == {200}
        assert observer.late(MAX_LATE) == 0
        assert observer.log_faults() == []
        letters = get(f"{env.admin}/dead-letters?code=unmapped_event&limit=1000")["dead_letters"]
        assert len(letters) == 2 * LETTERS, "no dead letter with content was pushed out"
        ledger = env.ledger()
        assert ledger["accepted"] == ledger["delivered"] + ledger["dead_lettered"] + ledger["waiting"]
        assert ledger["accepted"] >= sender.accepted
