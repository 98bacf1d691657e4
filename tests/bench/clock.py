"""Time that moves when told to, and connections that keep what they are given."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Wire:
    sent: list[tuple[int, float]] = field(default_factory=list)

    def send(self, number: int, due: float) -> None:
        self.sent.append((number, due))
