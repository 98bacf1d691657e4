"""Logs that events are rejected, without their content: the first of each source and code, then counts once a minute.

Senders often do not read the responses, and a dead letter is only seen by an operator who looks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

log = logging.getLogger("gateway.rejections")

COUNT_SECONDS = 60.0
"""Seconds between two logs of the counts."""


class RejectionLog:
    """Logs rejections by the counters of the ledger.

    An event that several destinations reject counts once: of a source's destinations, the one with the most counts.
    """

    def __init__(self, explanations: Mapping[str, str], clock: Callable[[], float]) -> None:
        """`explanations`: by code, its meaning and its remedy. `clock` returns monotonic seconds."""
        self._explanations = explanations
        self._clock = clock
        self._counted_at = clock()
        # Events that were logged, by (source, code). Sources and codes are closed sets, and so are the keys.
        self._logged: dict[tuple[str, str], int] = {}

    def update(self, rejected: Mapping[tuple[str, str, str], int]) -> None:
        """Log what is due. `rejected`: events since the start, by (source, destination, code)."""
        by_destination: dict[tuple[str, str], dict[str, int]] = {}
        for (source, destination, code), count in rejected.items():
            if count:
                by_destination.setdefault((source, code), {})[destination] = count
        for (source, code), counts in by_destination.items():
            if (source, code) not in self._logged:
                self._logged[source, code] = 1
                self._log_first(source, code, ", ".join(counts))
        if self._clock() - self._counted_at >= COUNT_SECONDS:
            self._log_counts(by_destination)

    def flush(self, rejected: Mapping[tuple[str, str, str], int]) -> None:
        """Log all that is not logged yet, before the process ends."""
        self._counted_at = self._clock() - COUNT_SECONDS
        self.update(rejected)

    def _log_first(self, source: str, code: str, destinations: str) -> None:
        # The formatted message is the template, since repeated warnings of one template are suppressed.
        message = f'rejected an event of source "{source}" for destination "{destinations}": {code}'
        log.warning(
            "%s",
            f"{message}. {self._explanations.get(code, '')}".rstrip(),
            extra={"source": source, "destination": destinations, "code": code},
        )

    def _log_counts(self, by_destination: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
        self._counted_at = self._clock()
        for (source, code), counts in by_destination.items():
            count = max(counts.values())
            more = count - self._logged[source, code]
            if more > 0:
                self._logged[source, code] = count
                noun = "event" if more == 1 else "events"
                log.warning(
                    "%s",
                    f'source "{source}": {more:,} more {noun} rejected in the last minute: {code}',
                    extra={"source": source, "destination": ", ".join(counts), "code": code},
                )
