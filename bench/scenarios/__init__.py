"""The scenarios, a file each: `run(rig, form)` gives a `Result`. The first sentence of a file says what it shows."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from bench.harness import Harness, Profile
from bench.result import Result

SCENARIOS = (
    "mapper",  # runs in this process, so before the others fill its memory
    "limits",
    "single",
    "batches",
    "lanes",
    "blocked_lane",
    "backlog",
    "payloads",
    "engines",
    "workers",
    "sidecar",
    "peers",
    "soak",
)
ASKED_FOR = frozenset({"soak"})
"""Only with `--only`: it lasts."""


class Scenario(Protocol):
    """What a scenario's module has."""

    __doc__: str | None

    __file__: str | None

    def run(self, harness: Harness, profile: Profile) -> Result:
        """Measure."""
        ...


def scenario(name: str) -> Scenario:
    """The module of this name, imported now: not every one is needed each time."""
    return cast("Scenario", import_module(f"bench.scenarios.{name}"))
