"""Distinguishes a bad event from a fault that affects all events.

The sign of such a fault is a series of refusals with one code, each of the first events of its call. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

SYSTEMIC = "systemic"
"""The kind of `OpenReason` for such a fault."""
MAX_CONSECUTIVE = 10
"""Leading events refused with the same code, and without a successful call between, that make a fault systemic."""


class SystemicFailureDetector:
    """Counts consecutive refusals of one lane."""

    def __init__(self) -> None:
        self._code: str | None = None
        self._consecutive = 0

    def clear(self) -> None:
        """Record a call that succeeded: the series of refusals ends."""
        self._code, self._consecutive = None, 0

    def record(self, indices: Sequence[int], code: str) -> tuple[Sequence[int], bool]:
        """Record the refused events of a call. Returns those to dead-letter, and whether the fault is systemic.

        The events before the first refused one have no fault, so a refusal that does not include event 0 ends the
        series. While a fault is systemic, each further call dead-letters one event, so that a lane gets past a large
        number of adjacent bad events.
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
