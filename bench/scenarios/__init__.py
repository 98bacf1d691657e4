"""The scenarios, one module each. The first line of a module's docstring says what the scenario measures."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from bench.harness import Harness, Profile
from bench.result import Result

SCENARIOS = (
    "mapper",  # runs in this process, so it comes before scenarios that fill the memory
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
ON_REQUEST = frozenset({"soak"})
"""Scenarios that run only with `--only`, because they take long."""


class Scenario(Protocol):
    """The interface of a scenario's module."""

    __doc__: str | None

    __file__: str | None

    def run(self, harness: Harness, profile: Profile) -> Result:
        """Measure."""
        ...


def scenario(name: str) -> Scenario:
    """Import and return the module of a scenario. A run imports only the modules that it needs."""
    return cast("Scenario", import_module(f"bench.scenarios.{name}"))
