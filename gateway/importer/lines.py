"""Lines of a text for the CSV parser, within limits, of which some can be read again.

When a quote is not closed, the parser takes the following lines for the rest of the field. `reread_after_first` gives
them back, so that one bad line costs one line.
"""

from __future__ import annotations

from collections import deque
from typing import Self, TextIO

from gateway.importer.rows import MAX_LINE
from gateway.model import Rejection

LINE_TOO_LONG = Rejection(
    "line_too_long", f"The line, or the row with its line breaks, is longer than {MAX_LINE} characters. Shorten it."
)
NUL_CHARACTER = Rejection("nul_character", "The line contains a NUL character. Remove it.")


class UnusableLine(Exception):
    """A line that must not reach the parser."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class Lines:
    """An iterator over the lines of a text that was opened with `newline=""`."""

    def __init__(self, text: TextIO) -> None:
        self._readline = text.readline
        self._again: deque[str] = deque()
        self._size = 0  # characters of the record
        self.number = 0
        """Of the last line, from 1."""
        self.record: list[str] = []
        """Lines since `begin_record`."""

    def begin_record(self) -> None:
        """Start a record. The lines before it cannot be read again."""
        self.record.clear()
        self._size = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """The next line. Raises `UnusableLine`. Runs once a line."""
        if self._again:
            line = self._again.popleft()
        else:
            line = self._readline(MAX_LINE + 1)
            if len(line) > MAX_LINE:
                self._skip_rest(line)
        if not line:
            raise StopIteration
        self.number += 1
        self.record.append(line)
        self._size += len(line)
        if self._size > MAX_LINE:
            raise UnusableLine(LINE_TOO_LONG)
        if "\0" in line:
            raise UnusableLine(NUL_CHARACTER)
        return line

    def reread_after_first(self) -> None:
        """Read the lines of the record again, except the first."""
        rest = self.record[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        del self.record[1:]

    def _skip_rest(self, beginning: str) -> None:
        """Skip the rest of a long line, without keeping it in memory."""
        piece = beginning
        while piece and not piece.endswith(("\n", "\r")):
            piece = self._readline(MAX_LINE)
