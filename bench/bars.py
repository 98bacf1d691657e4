"""What the gateway set out to reach, in one place. Figures are held against these and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure is to reach."""

    what: str
    least: float
    aim: float
    unit: str = "ratio"
    lower_is_better: bool = False
    scenario: str = ""
    """Which one measures it."""

    def is_met(self, value: float) -> bool:
        """Whether the figure reaches it."""
        return value <= self.least if self.lower_is_better else value >= self.least

    def reaches_aim(self, value: float) -> bool:
        """Whether the figure reaches what is hoped for."""
        return value <= self.aim if self.lower_is_better else value >= self.aim

    def shown(self, value: float) -> str:
        """With its unit."""
        return f"{value:.2f}" if self.unit == "ratio" else f"{value:.3g} {self.unit}"


BARS: Mapping[str, Bar] = {
    "single": Bar("single events, durable, against the bare handler that decodes", 0.55, 0.7, scenario="single"),
    "delivered": Bar(
        "batches of 100, durable until delivered, against the pipeline floor", 0.25, 0.4, scenario="batches"
    ),
    "latency": Bar(
        "p99 latency of a durable single event at half the peak rate",
        15.0,
        8.0,
        "ms",
        lower_is_better=True,
        scenario="single",
    ),
    "drain": Bar("drain speed against ingest speed, batches of 100", 1.0, 1.5, scenario="backlog"),
    "backlog_memory": Bar(
        "resident memory, backlog of 5 million against 10 thousand", 1.3, 1.1, lower_is_better=True, scenario="backlog"
    ),
    "workers": Bar("two workers against one, where two cores are free", 1.6, 1.9, scenario="workers"),
    "lanes": Bar("256 lanes against 1, same events a second", 0.8, 0.95, scenario="lanes"),
    "sidecar_memory": Bar(
        "resident memory of an idle sidecar", 70.0, 50.0, "MB", lower_is_better=True, scenario="sidecar"
    ),
    "sidecar_start": Bar("start of a sidecar to ready", 1.0, 0.5, "s", lower_is_better=True, scenario="sidecar"),
    "mapper": Bar(
        "mapper on the sample call, cold, time against its floor", 2.2, 1.8, lower_is_better=True, scenario="mapper"
    ),
}
