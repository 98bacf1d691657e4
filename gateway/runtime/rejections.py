"""Watches the rejections of a gateway: logs them, and alerts when a source has too many.

It runs where the whole gateway is seen: in the only process, or in the supervisor, which has the counts of all workers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from gateway.config import AlertSettings
from gateway.ingest.events import INTERNAL_ERROR
from gateway.mapping import REJECTIONS
from gateway.model import UnixSeconds
from gateway.telemetry import Ledger
from gateway.telemetry.alerts import Alert, AlertType, RejectionRateAlert
from gateway.telemetry.rejection_log import RejectionLog
from gateway.telemetry.rejection_rate import RejectionRate, RejectionRates, rejection_counts

log = logging.getLogger("gateway.runtime")

UPDATE_SECONDS = 1.0
"""Seconds between two readings of the counters."""

EXPLANATIONS: Mapping[str, str] = {
    **{code: f"{reason.meaning} {reason.remedy}" for code, reason in REJECTIONS.items()},
    INTERNAL_ERROR.code: INTERNAL_ERROR.message,
}
"""By code, its meaning and its remedy. The sentence of a single rejection may name the event, which a sender chose."""


class RejectionMonitor:
    """Reads the counters of rejected events; see the module."""

    def __init__(
        self,
        settings: AlertSettings,
        notify: Callable[[Alert], None],
        clock: Callable[[], UnixSeconds] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`notify` is called when the rate of a source begins or ends to be above the limit."""
        self._settings = settings
        self._notify = notify
        self._clock = clock
        self._log = RejectionLog(EXPLANATIONS, monotonic)
        self._rates = RejectionRates(settings, monotonic)

    @property
    def above(self) -> Mapping[str, RejectionRate]:
        """By source, the rates that are above the limit."""
        return self._rates.above

    def reload(self, settings: AlertSettings) -> None:
        """Use other limits."""
        self._settings = settings
        self._rates.reload(settings)

    async def run(self, ledger: Ledger) -> None:
        """Read the counters of the only process at an interval, until cancelled."""
        while True:
            self.update([ledger])
            await asyncio.sleep(UPDATE_SECONDS)

    def update(self, ledgers: Iterable[Ledger]) -> None:
        """Read the counters: of all processes, including those that ended."""
        counts = rejection_counts(ledgers)
        self._log.update(counts.rejected)
        begun, ended = self._rates.update(counts)
        for source, rate in begun.items():
            self._alert(AlertType.REJECTION_RATE_HIGH, source, rate)
        for source in ended:
            self._alert(AlertType.REJECTION_RATE_NORMAL, source, self._rates.of(source))

    def flush(self, ledgers: Iterable[Ledger]) -> None:
        """Log the rejections that are not logged yet, before the process ends."""
        self._log.flush(rejection_counts(ledgers).rejected)

    def _alert(self, alert_type: AlertType, source: str, rate: RejectionRate) -> None:
        alert = RejectionRateAlert(alert_type, source, rate, self._settings.rejection_rate, self._clock())
        log.warning("%s", alert.text, extra={"source": source})
        self._notify(alert)
