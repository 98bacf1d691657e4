"""The alerts: changes of state that an operator should know of at once.

An alert contains no event, no upload tag (a sender chose it) and no token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from gateway.escaping import printable
from gateway.model import JsonObject, Lane, UnixSeconds
from gateway.telemetry.rejection_rate import WINDOW_SECONDS, RejectionRate


class AlertType(StrEnum):
    """The event that an alert reports."""

    BLOCKED = "lane_blocked"
    RESUMED = "lane_resumed"
    REJECTION_RATE_HIGH = "rejection_rate_high"
    REJECTION_RATE_NORMAL = "rejection_rate_normal"


class Alert(Protocol):
    """An alert of any type."""

    @property
    def alert_type(self) -> AlertType:
        """The event that it reports."""
        ...

    @property
    def subject(self) -> Mapping[str, str]:
        """What it is about, as fields of a log record."""
        ...

    def as_json(self) -> JsonObject:
        """The body of the POST. `text` is the field that chat services display, `event` the type."""
        ...


@dataclass(frozen=True, slots=True)
class LaneAlert:
    """The uploads of a lane stopped, or resumed."""

    alert_type: AlertType
    """`BLOCKED` or `RESUMED`."""
    lane: Lane
    kind: str
    """Why uploads stopped: token, permission, object, version, policy or systemic."""
    code: str
    """Of the response that stopped them, such as `meta_190_463`."""
    waiting: int
    """Events of the lane in the spool."""
    at: UnixSeconds
    reason: str = ""
    """A clause that explains `kind` and `code` to an operator; by default these two."""
    remedy: str = ""
    """A sentence on how to fix the cause."""

    @property
    def subject(self) -> Mapping[str, str]:
        """See `Alert`."""
        return {"lane": str(self.lane)}

    def as_json(self) -> JsonObject:
        """See `Alert`. `tag_hash` is as in the metrics."""
        lane = self.lane
        where = f'destination "{lane.destination}", dataset {lane.event_set}, upload tag {lane.tag_hash}'
        events = f"{self.waiting:,} event{'' if self.waiting == 1 else 's'}"
        if self.alert_type is AlertType.BLOCKED:
            reason = self.reason or f"{self.kind} ({self.code})"
            text = (
                f"uploads stopped for {where}: {reason}. {events} kept; retrying until a call succeeds. {self.remedy}"
            )
        else:
            text = f"uploads resumed for {where}: {events} waiting."
        return {
            "text": printable(text.strip()),
            "event": self.alert_type.value,
            "destination": lane.destination,
            "event_set": lane.event_set,
            "tag_hash": lane.tag_hash,
            "kind": self.kind,
            "code": self.code,
            "waiting": self.waiting,
            "at": _iso(self.at),
        }


@dataclass(frozen=True, slots=True)
class RejectionRateAlert:
    """The rate of rejected events of a source rose above the limit, or fell below it again."""

    alert_type: AlertType
    """`REJECTION_RATE_HIGH` or `REJECTION_RATE_NORMAL`."""
    source: str
    rate: RejectionRate
    limit: float
    """Of the rate, 0 to 1."""
    at: UnixSeconds

    @property
    def subject(self) -> Mapping[str, str]:
        """See `Alert`."""
        return {"source": self.source}

    @property
    def text(self) -> str:
        """The alert as a sentence, for the log and for chat services."""
        rate, minutes = self.rate, f"{WINDOW_SECONDS / 60:g}"
        if self.alert_type is AlertType.REJECTION_RATE_HIGH:
            return (
                f'{rate.value:.1%} of the events of source "{self.source}" were rejected in the last {minutes} '
                f"minutes ({rate.rejected:,} of {rate.events:,}; limit {self.limit:.1%}): {rate.main_codes}. "
                "`gateway dead-letters list` shows them"
            )
        return (
            f'the rate of rejected events of source "{self.source}" has not been above its limit of {self.limit:.1%} '
            f"for {minutes} minutes"
        )

    def as_json(self) -> JsonObject:
        """See `Alert`."""
        return {
            "text": printable(self.text),
            "event": self.alert_type.value,
            "source": self.source,
            **self.rate.as_json(),
            "limit": self.limit,
            "at": _iso(self.at),
        }


def _iso(at: UnixSeconds) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
