"""The state of a gateway as JSON, for people and scripts: the account first, then every lane."""

from __future__ import annotations

from collections import Counter

from gateway import __version__
from gateway.model import JsonObject, UnixSeconds
from gateway.telemetry import Coverage, LaneCounts, LaneStatistics, Snapshot


def status_of(gateway: Snapshot, now: UnixSeconds) -> JsonObject:
    """The whole of it. `accepted + recovered = delivered + dead_lettered + waiting`, in every lane and in all."""
    ledger = gateway.ledger
    total = LaneCounts()
    for counts in ledger.lanes.values():
        total.add(counts)
    rejected: Counter[str] = Counter()
    for (_, _, code), count in ledger.rejected.items():
        rejected[code] += count
    flushed = sum(histogram.count for histogram in ledger.batch_events.values())
    events = sum(histogram.total for histogram in ledger.batch_events.values())
    spool = gateway.spool
    return {
        "version": __version__,
        "started_at": gateway.started_at,
        "uptime_seconds": round(now - gateway.started_at, 3),
        "ready": not gateway.reasons,
        "reasons": list(gateway.reasons),
        "workers": gateway.workers,
        "settings": {"read_at": gateway.settings_at, "errors": list(gateway.settings_errors)},
        "warnings": {name: {"graph_version": text} for name, text in gateway.warnings.items()},
        "ledger": {
            "recovered": total.recovered,
            "accepted": total.accepted,
            "delivered": total.delivered,
            "dead_lettered": total.dead,
            "waiting": total.waiting,
        },
        "received": sum(ledger.received.values()),
        "ignored": sum(ledger.ignored.values()),
        "deduplicated": sum(ledger.deduplicated.values()),
        "rejected": dict(sorted(rejected.items())),
        "batches": total.batches,
        "events_per_batch": round(events / flushed, 1) if flushed else 0.0,
        "flushes": _flushes(gateway),
        "spool": {
            "events": spool.events,
            "bytes": spool.size,
            "max_bytes": spool.max_bytes,
            "dead_letters": spool.dead_letters,
            "dead_letters_purged": ledger.purged,
        },
        "orphans": [
            {**orphan.lane._asdict(), "waiting": orphan.events, "bytes": orphan.bytes} for orphan in gateway.orphans
        ],
        "lanes": [_lane(lane, ledger.lanes[lane.lane], now) for lane in gateway.lanes],
        "coverage": {name: _coverage(one) for name, one in gateway.coverage.items()},
    }


def _flushes(gateway: Snapshot) -> JsonObject:
    by_reason: Counter[str] = Counter()
    for (_, reason), count in gateway.ledger.flushes.items():
        by_reason[reason.value] += count
    return dict(sorted(by_reason.items()))


def _lane(numbers: LaneStatistics, counts: LaneCounts, now: UnixSeconds) -> JsonObject:
    oldest = numbers.oldest_at
    return {
        "destination": numbers.lane.destination,
        "event_set": numbers.lane.event_set,
        "upload_tag": numbers.lane.upload_tag,
        "waiting": counts.waiting,
        "oldest_age_seconds": None if oldest is None else round(max(0.0, now - oldest), 3),
        "in_flight": numbers.in_flight,
        "last_outcome": numbers.last_outcome,
        "calls_per_second": round(numbers.calls_per_second, 3),
        "concurrency": numbers.concurrency,
        "blocked": numbers.blocked,
        "recovered": counts.recovered,
        "accepted": counts.accepted,
        "delivered": counts.delivered,
        "dead_lettered": counts.dead,
        "batches": counts.batches,
    }


def _coverage(coverage: Coverage) -> JsonObject:
    return {
        "events": coverage.events,
        "keys": {name: {"present": key.present, "dropped": dict(key.dropped)} for name, key in coverage.keys.items()},
        "notes": dict(coverage.notes),
    }
