"""Tells a bad event from a fault of all events: refusals in a row, each of the first events of its call. Pure."""

from __future__ import annotations

from collections.abc import Sequence

SYSTEMATIC = "systematic"
"""The kind of block that such a fault is."""
IN_A_ROW = 10
"""So many first events refused alike, without a call that passed, are no event's fault."""


class Suspicion:
    """Counts refusals of a lane."""

    def __init__(self) -> None:
        self._code: str | None = None
        self._in_a_row = 0

    def clear(self) -> None:
        """A call passed."""
        self._code, self._in_a_row = None, 0

    def of(self, indices: Sequence[int], code: str) -> tuple[Sequence[int], bool]:
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
            self._code, self._in_a_row = code, 0
        room = IN_A_ROW - self._in_a_row
        if leading < room:
            self._in_a_row += leading
            return indices, False
        self._in_a_row = IN_A_ROW - 1
        return indices[:room], True
