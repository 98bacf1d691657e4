"""A clock that tests advance, and a connection that records the requests that it is given."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeConnection:
    sent: list[tuple[int, float]] = field(default_factory=list)
    """Number and due time of each request."""

    def send(self, number: int, due: float) -> None:
        self.sent.append((number, due))
