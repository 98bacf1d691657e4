"""What shall go wrong at the sandbox, for rehearsing Meta's bad days. Switched on and off while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.model import JsonObject


class Fault(BaseModel):
    """One thing that goes wrong. The first fault that fits a call is done to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_set: str | None = None
    """Only for calls to this event set."""
    share: float = Field(1.0, gt=0, le=1)
    """Of the calls that fit."""
    calls: int | None = Field(None, ge=1)
    """For so many calls, then it is over; None: until it is cleared."""
    delay: float = Field(0.0, ge=0, le=3600)
    """Seconds before the call is looked at."""
    answer_delay: float = Field(0.0, ge=0, le=3600)
    """Seconds between taking the events and answering: the sender is in doubt meanwhile."""
    drop: Literal["before", "after"] | None = None
    """Cut the connection without an answer, before or after taking the events."""
    status: int | None = Field(None, ge=200, le=599)
    """Refuse with this status; 200 with a code is an error that comes with success."""
    code: int | None = None
    subcode: int | None = None
    is_transient: bool = False
    event_index: int | None = Field(None, ge=0)
    """Blame this event."""
    body: Literal["error", "html", "empty", "truncated"] = "error"
    """What stands in the refusal."""
    count: int | None = None
    """Take the call, but say that it took so many events."""
    headers: dict[str, str] = {}
    """Sent along, such as usage headers."""


@dataclass(slots=True)
class Faults:
    """The faults that are switched on."""

    random: Random
    active: list[tuple[Fault, list[int]]] = field(default_factory=list)
    """Each with what is left of its calls."""

    def add(self, given: Any) -> Fault:
        """Switch one on. Raises pydantic's `ValidationError`."""
        fault = Fault.model_validate(given)
        self.active.append((fault, [fault.calls or 0]))
        return fault

    def clear(self) -> None:
        """All is well again."""
        self.active.clear()

    def next(self, event_set: str) -> Fault | None:
        """What goes wrong with a call that arrives now."""
        for entry in self.active:
            fault, left = entry
            if fault.event_set not in {None, event_set} or self.random.random() >= fault.share:
                continue
            if fault.calls is not None:
                left[0] -= 1
                if left[0] <= 0:
                    self.active.remove(entry)
            return fault
        return None

    def as_json(self) -> list[JsonObject]:
        """What is switched on."""
        return [fault.model_dump(exclude_defaults=True) for fault, _ in self.active]
