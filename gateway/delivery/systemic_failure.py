"""Tells a bad event from a fault of all events: refusals in a row, each of the first events of its call. Pure."""

from __future__ import annotations

from collections.abc import Sequence

SYSTEMIC = "systemic"
"""The kind of block that such a fault is."""
MAX_CONSECUTIVE = 10
"""So many first events refused alike, without a call that passed, are no event's fault."""


class SystemicFailureDetector:
    """Counts refusals of a lane."""

    def __init__(self) -> None:
        self._code: str | None = None
        self._consecutive = 0

    def clear(self) -> None:
        """A call passed."""
        self._code, self._consecutive = None, 0

    def record(self, indices: Sequence[int], code: str) -> tuple[Sequence[int], bool]:
        """The events of a call that are to be given up, of those that were refused; whether the fault is systematic.

        Events before the first refused one had nothing wrong with them, so they clear the suspicion. Of a systematic
        fault each further call gives up one event, so that a lane gets past many bad ones that stand together.
        """
        leading = 0
        while leading < len(indices) and indices[leading] == leading:
            leading += 1
        if not leading:
            self.clear()
            return indices, False
        if code != self._code:
            self._code, self._consecutive = code, 0
        allowed = MAX_CONSECUTIVE - self._consecutive
        if leading < allowed:
            self._consecutive += leading
            return indices, False
        self._consecutive = MAX_CONSECUTIVE - 1
        return indices[:allowed], True
