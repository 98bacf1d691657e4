"""The performance targets. A figure is judged only against one of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """The required value of one figure, and a more ambitious goal."""

    name: str
    required: float
    goal: float
    unit: str = "ratio"
    lower_is_better: bool = False
    scenario: str = ""
    """The scenario that measures the figure."""

    def is_met(self, value: float) -> bool:
        """Return whether the value meets the requirement."""
        return value <= self.required if self.lower_is_better else value >= self.required

    def reaches_goal(self, value: float) -> bool:
        """Return whether the value reaches the goal."""
        return value <= self.goal if self.lower_is_better else value >= self.goal

    def format(self, value: float) -> str:
        """Format a value with the target's unit. A ratio has no unit."""
        return f"{value:.2f}" if self.unit == "ratio" else f"{value:.3g} {self.unit}"


TARGETS: Mapping[str, Target] = {
    "single": Target("single events until durable, relative to the handler that decodes", 0.55, 0.7, scenario="single"),
    "delivered": Target(
        "batches of 100 until delivered, relative to the pipeline baseline", 0.25, 0.4, scenario="batches"
    ),
    "latency": Target(
        "p99 latency of a single event until durable, at half the peak rate",
        15.0,
        8.0,
        "ms",
        lower_is_better=True,
        scenario="single",
    ),
    "drain": Target("drain rate relative to ingest rate, batches of 100", 1.0, 1.5, scenario="backlog"),
    "backlog_memory": Target(
        "resident memory, backlog of 5 million relative to 10 thousand",
        1.3,
        1.1,
        lower_is_better=True,
        scenario="backlog",
    ),
    "workers": Target("two workers relative to one, with two free cores", 1.6, 1.9, scenario="workers"),
    "lanes": Target("256 lanes relative to 1, at the same event rate", 0.8, 0.95, scenario="lanes"),
    "sidecar_memory": Target(
        "resident memory of an idle sidecar", 70.0, 50.0, "MB", lower_is_better=True, scenario="sidecar"
    ),
    "sidecar_start": Target(
        "time from start to ready of a sidecar", 1.0, 0.5, "s", lower_is_better=True, scenario="sidecar"
    ),
    "mapper": Target(
        "mapping time of the sample call, cold, relative to its baseline",
        0.9,
        0.6,
        lower_is_better=True,
        scenario="mapper",
    ),
}
