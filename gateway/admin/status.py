"""The `/status` response: totals of the event ledger, the spool, every lane, and the match key coverage, as JSON."""

from __future__ import annotations

from collections import Counter

from gateway import __version__
from gateway.model import JsonObject, UnixSeconds
from gateway.telemetry import Coverage, LaneCounts, LaneStatistics, Snapshot


def status_of(snapshot: Snapshot, now: UnixSeconds) -> JsonObject:
    """A snapshot as JSON.

    Invariant, in total and for each lane: `accepted + recovered = delivered + dead_lettered + waiting`.
    """
    ledger = snapshot.ledger
    total = LaneCounts()
    for counts in ledger.lanes.values():
        total.add(counts)
    rejected: Counter[str] = Counter()
    for (_, _, code), count in ledger.rejected.items():
        rejected[code] += count
    flushed_batches = sum(histogram.count for histogram in ledger.batch_events.values())
    flushed_events = sum(histogram.total for histogram in ledger.batch_events.values())
    spool = snapshot.spool
    return {
        "version": __version__,
        "started_at": snapshot.started_at,
        "uptime_seconds": round(now - snapshot.started_at, 3),
        "ready": not snapshot.reasons,
        "reasons": list(snapshot.reasons),
        "workers": snapshot.workers,
        "mapping": snapshot.mapping,
        "settings": {"read_at": snapshot.settings_at, "errors": list(snapshot.settings_errors)},
        "warnings": {
            "destinations": {name: {"graph_version": text} for name, text in snapshot.warnings.items()},
            "sources": {name: rate.as_json() for name, rate in snapshot.rejection_rates.items()},
        },
        "ledger": {
            "recovered": total.recovered,
            "accepted": total.accepted,
            "delivered": total.delivered,
            "dead_lettered": total.dead,
            "waiting": total.waiting,
        },
        "received": sum(ledger.received.values()),
        "ignored": sum(ledger.ignored.values()),
        "consent_denied": sum(ledger.consent_denied.values()),
        "deduplicated": sum(ledger.deduplicated.values()),
        "retagged": dict(sorted(ledger.retagged.items())),
        "rejected": dict(sorted(rejected.items())),
        "batches": total.batches,
        "events_per_batch": round(flushed_events / flushed_batches, 1) if flushed_batches else 0.0,
        "flushes": _flushes(snapshot),
        "spool": {
            "events": spool.events,
            "bytes": spool.size,
            "max_bytes": spool.max_bytes,
            "dead_letters": spool.dead_letters,
            "dead_letter_bytes": spool.dead_letter_bytes,
            "dead_letters_purged": ledger.purged,
        },
        "orphans": [
            {**orphan.lane._asdict(), "waiting": orphan.events, "bytes": orphan.bytes} for orphan in snapshot.orphans
        ],
        "datasets": _datasets(snapshot),
        "lanes": [_lane(lane, ledger.lanes[lane.lane], now) for lane in snapshot.lanes],
        "coverage": {name: _coverage(coverage) for name, coverage in snapshot.coverage.items()},
    }


def _flushes(snapshot: Snapshot) -> JsonObject:
    by_reason: Counter[str] = Counter()
    for (_, reason), count in snapshot.ledger.flushes.items():
        by_reason[reason.value] += count
    return dict(sorted(by_reason.items()))


def _datasets(snapshot: Snapshot) -> list[JsonObject]:
    """The counts of each dataset, those of lanes that have ended included."""
    datasets: dict[tuple[str, str], LaneCounts] = {}
    for lane, counts in snapshot.ledger.lanes.items():
        datasets.setdefault((lane.destination, lane.event_set), LaneCounts()).add(counts)
    return [
        {
            "destination": destination,
            "event_set": event_set,
            "recovered": counts.recovered,
            "accepted": counts.accepted,
            "delivered": counts.delivered,
            "dead_lettered": counts.dead,
            "waiting": counts.waiting,
        }
        for (destination, event_set), counts in datasets.items()
    ]


def _lane(statistics: LaneStatistics, counts: LaneCounts, now: UnixSeconds) -> JsonObject:
    oldest = statistics.oldest_at
    return {
        "lane": str(statistics.lane),  # as in the log, with a hash of the upload tag
        "destination": statistics.lane.destination,
        "event_set": statistics.lane.event_set,
        "upload_tag": statistics.lane.upload_tag,
        "waiting": counts.waiting,
        "oldest_age_seconds": None if oldest is None else round(max(0.0, now - oldest), 3),
        "in_flight": statistics.in_flight,
        "last_outcome": statistics.last_outcome,
        "last_call_at": statistics.last_call_at,
        "calls_per_second": round(statistics.calls_per_second, 3),
        "concurrency": statistics.concurrency,
        "blocked": statistics.blocked,
        "throttled_until": statistics.throttled_until,
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
        "left_out": dict(coverage.left_out),
    }
