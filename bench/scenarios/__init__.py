"""The scenarios, a file each: `run(rig, form)` gives a `Result`. The first sentence of a file says what it shows."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from bench.result import Result
from bench.rig import Form, Rig

SCENARIOS = (
    "mapper",  # runs in this process, so before the others fill its memory
    "limits",
    "single",
    "batches",
    "lanes",
    "sick_lane",
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

    def run(self, rig: Rig, form: Form) -> Result:
        """Measure."""
        ...


def scenario(name: str) -> Scenario:
    """The module of this name, imported now: not every one is needed each time."""
    return cast("Scenario", import_module(f"bench.scenarios.{name}"))
