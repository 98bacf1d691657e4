"""Fault injection in the sandbox: errors, delays and dropped connections that are switched on and off while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.model import JsonObject


class Fault(BaseModel):
    """One fault. The first active fault that matches a call is applied to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_set: str | None = None
    """Only calls to this event set."""
    share: float = Field(1.0, gt=0, le=1)
    """Fraction of these calls, chosen at random."""
    calls: int | None = Field(None, ge=1)
    """Number of calls after which the fault ends; None: it lasts until it is cleared."""
    delay: float = Field(0.0, ge=0, le=3600)
    """Seconds before the call is processed."""
    answer_delay: float = Field(0.0, ge=0, le=3600)
    """Seconds between accepting the events and the response. A client that times out does not know the result."""
    drop: Literal["before", "after"] | None = None
    """Close the connection without a response, before or after accepting the events."""
    status: int | None = Field(None, ge=200, le=599)
    """Respond with an error of this HTTP status; 200 gives an error in a response with status 200."""
    code: int | None = None
    """Meta's error code; 1 if absent."""
    subcode: int | None = None
    is_transient: bool = False
    event_index: int | None = Field(None, ge=0)
    """Index of the event that the error names."""
    body: Literal["error", "html", "empty", "truncated"] = "error"
    """Body of the error response."""
    count: int | None = None
    """Accept the call, but report this number of events as received."""
    headers: dict[str, str] = {}
    """Additional response headers, such as usage headers."""


@dataclass(slots=True)
class Faults:
    """The active faults."""

    random: Random
    active: list[tuple[Fault, list[int]]] = field(default_factory=list)
    """Each with its number of remaining calls, if it has one."""

    def add(self, given: Any) -> Fault:
        """Activate a fault given as JSON types. Raises pydantic's `ValidationError`."""
        fault = Fault.model_validate(given)
        self.active.append((fault, [fault.calls or 0]))
        return fault

    def clear(self) -> None:
        """Deactivate all faults."""
        self.active.clear()

    def next(self, event_set: str) -> Fault | None:
        """The fault to apply to a call to `event_set`, which is counted; None: no fault."""
        for entry in self.active:
            fault, remaining = entry
            if fault.event_set not in {None, event_set} or self.random.random() >= fault.share:
                continue
            if fault.calls is not None:
                remaining[0] -= 1
                if remaining[0] <= 0:
                    self.active.remove(entry)
            return fault
        return None

    def as_json(self) -> list[JsonObject]:
        """The active faults, without the keys that have their default."""
        return [fault.model_dump(exclude_defaults=True) for fault, _ in self.active]
