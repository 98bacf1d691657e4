"""One dead letter: why it was refused, Meta's codes, and its event without personal values."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nextafter
from urllib.parse import urlencode

import orjson

from gateway.console.pages.letters import LetterRow, letter_row
from gateway.console.redacted import short_hashes, shown_id
from gateway.console.refusals import explain_code
from gateway.console.view import NotFound, Services, View, Visit
from gateway.mapping.personal import is_personal_text
from gateway.model import DeadLetter, MetaFault
from gateway.spool import DeadLetterFilter


@dataclass(frozen=True, slots=True)
class Letter:
    """The page."""

    row: LetterRow
    message: str
    remedy: str
    fault: MetaFault | None
    event: str | None
    """As indented JSON, with the first six digits of each hash."""
    selection: str
    """The filter that selects it, as a query string."""


async def show(services: Services, visit: Visit) -> View:
    """The page. Raises `NotFound`."""
    number = int(visit.name) if visit.name.isascii() and visit.name.isdigit() and len(visit.name) <= 18 else 0
    found: list[tuple[int, DeadLetter]] = []
    if number > 0:
        async with services.reading:
            found = list(await services.gateway.dead_letters.find(number - 1, 1, DeadLetterFilter()))
    if not found or found[0][0] != number:
        raise NotFound(f"There is no dead letter {visit.name[:20]}: it was replayed or deleted, or never existed.")
    model = build(number, found[0][1], shows_ids=services.gateway.settings.console.show_ids)
    return View("letter.html", f"Dead letter {number}", model)


def build(number: int, letter: DeadLetter, *, shows_ids: bool) -> Letter:
    """The values of the page."""
    meaning, remedy = explain_code(letter.stage, letter.code)
    return Letter(
        row=letter_row(number, letter, shows_ids=shows_ids),
        # The message of an event without a route quotes its name, and a sender may use an address as a name.
        message=meaning if is_personal_text(letter.message) else letter.message,
        remedy=remedy,
        fault=letter.fault,
        event=_event(letter.event, shows_ids=shows_ids),
        selection=_selection(letter, shows_ids=shows_ids),
    )


def _event(event: bytes | None, *, shows_ids: bool) -> str | None:
    if event is None:
        return None
    try:
        decoded = orjson.loads(event)
    except orjson.JSONDecodeError:
        return "(The event is not valid JSON, so it is not shown.)"
    return orjson.dumps(short_hashes(decoded, shows_ids=shows_ids), option=orjson.OPT_INDENT_2).decode()


def _selection(letter: DeadLetter, *, shows_ids: bool) -> str:
    """The most exact filter that selects the letter: letters of one moment with the same code are selected together."""
    given = {
        "code": letter.code,
        "destination": letter.destination,
        "stage": letter.stage.value,
        "since": f"{letter.at:.6f}",
        "until": f"{nextafter(letter.at, inf) + 1e-6:.6f}",
    }
    if letter.message_id and shown_id(letter.message_id, shows_ids=shows_ids) == letter.message_id:
        given["message_id"] = letter.message_id
    return urlencode(given)
