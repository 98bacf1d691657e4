"""Joins what is known about an event: the trace of what was accepted, and the dead letters of what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.admin.gateway import Gateway
from gateway.identifiers import short_id
from gateway.model import DeadLetter
from gateway.spool import DeadLetterFilter
from gateway.trace import TraceResult

MAX_LETTERS = 20
"""Dead letters with a message ID, and with an order ID, that are returned."""


@dataclass(frozen=True, slots=True)
class EventStory:
    """What became of the events with an ID."""

    identifier: str
    """The message ID or order ID, as it is stored."""
    trace: TraceResult
    """Those that were accepted."""
    dead_letters: Sequence[tuple[int, DeadLetter]]
    """Those that were rejected, refused or expired, and are kept; with their numbers."""


async def find_event(gateway: Gateway, identifier: str) -> EventStory:
    """Everything that is known about the events with this message ID or order ID."""
    identifier = short_id(identifier) or ""
    trace = await gateway.trace(identifier)
    letters: dict[int, DeadLetter] = {}
    for where in (DeadLetterFilter(message_id=identifier), DeadLetterFilter(order_id=identifier)):
        letters |= dict(await gateway.dead_letters.find(0, MAX_LETTERS, where))
    return EventStory(identifier, trace, sorted(letters.items()))
