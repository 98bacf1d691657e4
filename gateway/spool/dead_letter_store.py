"""What can be asked of the dead letters beside writing them: by number, by filter, let go, sent once more.

Engines keep this promise next to `Spool`; it is apart because nobody on an event's way needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.model import Chunk, DeadLetter, Stage, StoredChunk, UnixSeconds


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are meant: those that match every field that is not None."""

    code: str | None = None
    destination: str | None = None
    event_set: str | None = None
    stage: Stage | None = None
    since: UnixSeconds | None = None
    """Not before this."""
    until: UnixSeconds | None = None
    """Before this."""

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        return (
            (self.code is None or letter.code == self.code)
            and (self.destination is None or letter.destination == self.destination)
            and (self.event_set is None or (letter.lane is not None and letter.lane.event_set == self.event_set))
            and (self.stage is None or letter.stage is self.stage)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


ALL_DEAD_LETTERS = DeadLetterFilter()


class DeadLetterStore(Protocol):
    """The dead letters of a spool. A number names one letter for ever: none is given twice, none moves."""

    async def dead_letters(
        self, after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS
    ) -> Sequence[tuple[int, DeadLetter]]:
        """Those that match, with a number above `after`, oldest first."""
        ...

    async def dead_letter(self, number: int) -> DeadLetter:
        """One of them. Raises `KeyError` when it is not there."""
        ...

    async def count_dead_letters(self, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> int:
        """How many match."""
        ...

    async def discard(self, numbers: Sequence[int]) -> int:
        """Let them go for good, all in one transaction; how many of them were there."""
        ...

    async def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter] = ()
    ) -> Sequence[StoredChunk]:
        """In one transaction: let these letters go and keep what became of them, so an interruption cannot double it.

        Raises `KeyError` when a number is not there (replayed or discarded already), and what `Spool.append` raises.
        """
        ...

    async def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Let go, from the oldest on, of letters from before `since` and of those beyond `max_bytes`; how many."""
        ...
