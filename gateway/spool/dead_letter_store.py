"""The interface for reading and managing dead letters: by number, by filter, discard, replay, purge.

Engines implement it in addition to `Spool`. It is separate because delivery does not use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.model import Chunk, DeadLetter, Stage, StoredChunk, UnixSeconds


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters: those that match every field that is not None."""

    code: str | None = None
    destination: str | None = None
    event_set: str | None = None
    stage: Stage | None = None
    since: UnixSeconds | None = None
    """Earliest time, inclusive."""
    until: UnixSeconds | None = None
    """Latest time, exclusive."""
    message_id: str | None = None
    order_id: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the filter selects the dead letter."""
        return (
            (self.code is None or letter.code == self.code)
            and (self.destination is None or letter.destination == self.destination)
            and (self.event_set is None or (letter.lane is not None and letter.lane.event_set == self.event_set))
            and (self.stage is None or letter.stage is self.stage)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
            and (self.message_id is None or letter.message_id == self.message_id)
            and (self.order_id is None or letter.order_id == self.order_id)
        )


ALL_DEAD_LETTERS = DeadLetterFilter()


class DeadLetterStore(Protocol):
    """The dead letters of a spool. A number identifies one dead letter permanently: no number is used twice."""

    async def dead_letters(
        self, after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS
    ) -> Sequence[tuple[int, DeadLetter]]:
        """Return matching dead letters with a number above `after`, oldest first, at most `limit`."""
        ...

    async def dead_letter(self, number: int) -> DeadLetter:
        """Return one dead letter. Raises `KeyError` when it does not exist."""
        ...

    async def count_dead_letters(self, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> int:
        """Return the number of matching dead letters."""
        ...

    async def discard(self, numbers: Sequence[int]) -> int:
        """Delete these dead letters in one transaction, and return how many of them existed."""
        ...

    async def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter] = ()
    ) -> Sequence[StoredChunk]:
        """In one transaction: delete these dead letters and store the chunks and dead letters that replace them.

        An interruption can therefore not duplicate an event. Raises `KeyError` when a number does not exist (replayed
        or discarded already), and what `Spool.append` raises.
        """
        ...

    async def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Delete dead letters from before `since`, and further ones while all exceed `max_bytes`.

        The further ones are first those without an event, which cannot be replayed, then the oldest. Returns how many
        were deleted.
        """
        ...
