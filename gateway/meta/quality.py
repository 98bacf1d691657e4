"""Types of Meta's Dataset Quality: how Meta rates the events of a dataset (Meta: Dataset Quality API).

Anything may be missing in Meta's response, so every field has an empty value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.model import UnixSeconds


@dataclass(frozen=True, slots=True)
class Score:
    """A score of Meta with its advice."""

    score: float | None = None
    """From 0 to 10."""
    recommendation: str | None = None
    """Meta's sentence, at most 500 characters."""


@dataclass(frozen=True, slots=True)
class OfflineQuality:
    """Meta's scores for the offline events of one name, over the last 28 days."""

    event_name: str
    composite: Score = Score()
    match_key: Score = Score()
    frequency: Score = Score()
    freshness: Score = Score()
    coverage: Mapping[str, float] = field(default_factory=dict)
    """Percent of the events that have a match key, by key, such as `email`."""


@dataclass(frozen=True, slots=True)
class WebQuality:
    """Meta's scores for the website events of one name."""

    event_name: str
    composite: Score = Score()
    coverage: Mapping[str, float] = field(default_factory=dict)
    """Percent of the events that have a match key, by key."""
    event_coverage: float | None = None
    """Events of the server in percent of those of the browser."""
    freshness: str | None = None
    """How soon Meta gets the events, such as `real_time`."""


@dataclass(frozen=True, slots=True)
class DatasetCounts:
    """Meta's own counts of a dataset."""

    valid: int | None = None
    matched: int | None = None
    duplicate: int | None = None
    match_rate: float | None = None
    """Percent of the events that Meta could match, approximately."""
    first_event_at: UnixSeconds | None = None
    last_event_at: UnixSeconds | None = None


@dataclass(frozen=True, slots=True)
class DatasetQuality:
    """What Meta says about one dataset of one destination."""

    destination: str
    event_set: str
    read_at: UnixSeconds
    offline: Sequence[OfflineQuality] = ()
    web: Sequence[WebQuality] = ()
    counts: DatasetCounts | None = None
    error: str | None = None
    """Why Meta's scores are not known, and what to do, in one or two sentences."""
