"""Events from a file: one JSON object per line (NDJSON), or JSON over several lines, or one JSON array."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain

BOM = b"\xef\xbb\xbf"
_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class InputEvent:
    """The text of one event. It is JSON unless the file has an error there."""

    line: int
    """Line at which it begins, from 1."""
    text: bytes


def events_in(lines: Iterable[bytes]) -> Iterator[InputEvent]:
    """The events of a file, in their order.

    If the first line is a complete JSON object, each line is an event and is read when it is asked for, so a file may
    be of any length. Otherwise the whole text is read. An array stands for its items. Text that is no JSON is returned
    as it is, a line at a time: the caller reports it.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    given = (InputEvent(number, line) for number, line in chain([(first[0], first[1].removeprefix(BOM))], numbered))
    if not _is_object(first[1].removeprefix(BOM)):
        text = list(given)
        documents = _documents(text)
        yield from text if documents is None else documents
        return
    yield from given


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _documents(lines: Iterable[InputEvent]) -> list[InputEvent] | None:
    """The JSON documents of a text, or the items of its only array; None if the text has anything else."""
    try:
        decoded = [(each.line, each.text.decode()) for each in lines]
        text = "".join(line for _, line in decoded)
        documents = _split(text)
        if len(documents) == 1 and text[documents[0][0]] == "[":
            documents = _split(text[: documents[0][1]].rstrip()[:-1], documents[0][0] + 1, ",")
    except (ValueError, RecursionError):
        return None
    begins = list(accumulate((len(line) for _, line in decoded), initial=0))  # positions of the lines
    return [
        InputEvent(decoded[bisect_right(begins, start) - 1][0], text[start:end].encode()) for start, end in documents
    ]


def _split(text: str, at: int = 0, separator: str = "") -> list[tuple[int, int]]:
    """Start and end of each JSON value of a text. Raises `ValueError` if the text has anything else.

    `separator` is required between two values.
    """
    found = list[tuple[int, int]]()
    while (at := _after_space(text, at)) < len(text):
        if found and separator:
            if text[at] != separator:
                raise ValueError("a separator is missing")
            at = _after_space(text, at + 1)
        _, end = _DECODER.raw_decode(text, at)
        found.append((at, end))
        at = end
    return found


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
