"""The counters of one worker over all of its processes, so that no counter falls when a process ends.

The supervisor reads the counters of each process once a second. When a process ends, its last counters are kept and
those of its successor are added. What a killed process counted after they were read is lost, but no sum falls.

The invariant `recovered + accepted = delivered + dead + waiting` holds for the sums too. Events that wait in the spool
when a process ends are recovered by its successor, so they are not counted as recovered a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.model import Lane
from gateway.telemetry import Ledger, Snapshot

log = logging.getLogger("gateway.runtime")


class WorkerCounts:
    """The counters of the processes of one worker."""

    def __init__(self, number: int) -> None:
        """`number`: of the worker, for the log."""
        self._number = number
        self._ended = Snapshot()  # of the processes that ended
        self._last = Snapshot()  # of the newest process
        self._process = 0  # number of the newest process
        # By lane: how many events that wait in `_ended` no process has recovered yet.
        self._unrecovered: dict[Lane, int] = {}

    def update(self, counters: Snapshot, process: int) -> None:
        """Use newer counters, of the same process or of its successor. `process`: its number, from 1."""
        if process < self._process:
            return  # read before the process ended, and received too late
        if process == self._process:
            self._take_over(self._last.ledger, counters)
            self._last = counters
            return
        self._ended.add(self._last)
        self._last, self._process = counters, process
        lanes = self._ended.ledger.lanes
        self._unrecovered = {lane: counts.waiting for lane, counts in lanes.items() if counts.waiting > 0}
        self._take_over(Ledger(), counters)
        self._count_ended(counters)
        self._merge_lanes(counters.ledger)

    @property
    def ledgers(self) -> Sequence[Ledger]:
        """The counters of the processes that ended, and of the newest one."""
        return self._ended.ledger, self._last.ledger

    def total(self) -> Snapshot:
        """The counters of all processes, without `orphans`."""
        total = Snapshot()
        total.add(self._ended)
        total.add(self._last)
        total.orphans = ()
        return total

    def _take_over(self, before: Ledger, counters: Snapshot) -> None:
        """Subtract the events that a process has recovered since `before` from those of the ended processes.

        Most are recovered at the start, those of a removed destination when the settings contain it again.
        """
        for lane, unrecovered in list(self._unrecovered.items()):
            if (now := counters.ledger.lanes.get(lane)) is None:
                continue
            earlier = before.lanes[lane].recovered if lane in before.lanes else 0
            taken = min(unrecovered, max(0, now.recovered - earlier))
            self._ended.ledger.lanes[lane].recovered -= taken
            self._unrecovered[lane] -= taken
            if not self._unrecovered[lane]:
                del self._unrecovered[lane]

    def _count_ended(self, counters: Snapshot) -> None:
        """Count events that are neither recovered nor kept for a removed destination: they ended uncounted."""
        kept: dict[Lane, int] = {orphan.lane: orphan.events for orphan in counters.orphans}
        uncounted = 0
        for lane, unrecovered in list(self._unrecovered.items()):
            ended = max(0, unrecovered - kept.get(lane, 0))
            self._ended.ledger.lanes[lane].delivered += ended
            uncounted += ended
            self._unrecovered[lane] -= ended
            if not self._unrecovered[lane]:
                del self._unrecovered[lane]
        if uncounted:
            log.warning(
                "%d events of worker %d left its spool after its counters were read for the last time; they are "
                "counted as delivered, since most of them are",
                uncounted,
                self._number,
            )

    def _merge_lanes(self, current: Ledger) -> None:
        """Merge the lanes that the new process does not have, as a process does with its idle lanes: a bound."""
        lanes = self._ended.ledger.lanes
        for lane in [lane for lane in lanes if lane not in current.lanes and lane not in self._unrecovered]:
            counts = lanes.pop(lane)
            lanes[Lane(lane.destination, lane.event_set, "")].add(counts)
