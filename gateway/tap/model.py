"""Types of the live view of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.model import UnixSeconds


class TapOutcome(StrEnum):
    """What was decided about a source event at ingest."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IGNORED = "ignored"
    DEDUPLICATED = "deduplicated"
    CONSENT_DENIED = "consent_denied"


@dataclass(frozen=True, slots=True)
class TapEntry:
    """One source event as it passed, without personal data; or several of one request with the same outcome."""

    at: UnixSeconds
    source: str
    """Name of the source."""
    outcome: TapOutcome
    event: str = ""
    """Meta's name of an accepted event, otherwise the sender's; escaped, at most 100 characters. Empty if it is not
    known, `(hidden)` if it looks personal."""
    code: str | None = None
    """Of the rejection."""
    destinations: Sequence[str] = ()
    """Names of the destinations that the outcome is about."""
    event_sets: Sequence[str] = ()
    """IDs of the datasets that get an accepted event."""
    message_id: str | None = None
    order_id: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """The match keys of an accepted event: the first six digits of the hash, or an empty text if Meta takes the value
    unhashed."""
    properties: int = 0
    """Other custom properties that an accepted event has: how many."""
    count: int = 1
    """Events that the entry stands for. More than 1 only if the outcome is `ignored`, `deduplicated` or
    `consent_denied`."""


@dataclass(frozen=True, slots=True)
class TapPage:
    """The events since the previous poll."""

    entries: Sequence[TapEntry]
    """Oldest first."""
    cursor: str
    """For the next poll."""
    skipped: int
    """Source events since the previous poll that are not in `entries`, because there were too many or the poll was
    late."""
