"""Dead letters: search, and what a replay or a deletion of the selection would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from gateway.admin.dead_letters import FILTER_PARAMETERS, BadQuery, parse_filter
from gateway.console.redacted import shown_id
from gateway.console.refusals import explain_code
from gateway.console.tables import Table
from gateway.console.view import Services, View, Visit
from gateway.dead_letters import ReplayPreview
from gateway.model import DeadLetter, Stage, UnixSeconds

PAGE_SIZE = 50

KEPT_REASONS: Mapping[str, str] = {
    "no_destination": "their destination is not in the settings",
    "no_event": "their event was not kept, or cannot be read",
    "expired": "they are too old for Meta now",
    "ignored": "their sender excluded the destination",
    "consent_denied": "they deny the consent that the destination needs",
    "unknown_type": "they are no track calls",
}
"""Why a dead letter stays at a replay. Other reasons are codes of the mapping: it rejects the event again."""


@dataclass(frozen=True, slots=True)
class LetterRow:
    """One dead letter, without its event."""

    number: int
    at: UnixSeconds
    stage: Stage
    code: str
    destination: str
    source: str | None
    event_set: str | None
    message_id: str | None
    order_id: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Letters:
    """The page."""

    rows: Sequence[LetterRow]
    filter: Mapping[str, str]
    """The fields of the form."""
    next: int | None
    """The number after which the next page begins; None on the last page."""
    code: tuple[str, str] | None
    """Meaning and remedy of the code that is searched for."""
    selection: str
    """The filter as a query string."""
    destinations: Sequence[str]
    shows_ids: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """The page that asks for a confirmation."""

    action: str
    """`replay` or `discard`."""
    filter: Mapping[str, str]
    """With the time of the preview as `until`: what is written later is not touched."""
    result: ReplayPreview
    stays: Sequence[tuple[str, int]]
    """Why dead letters stay at a replay, and how many."""
    back: str


async def show(services: Services, visit: Visit) -> View:
    """The search. Raises `BadQuery`."""
    given = given_filter(visit)
    where = parse_filter(given)
    after = visit.query.get("after", "0")
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise BadQuery("`after` must be the number of a dead letter.")
    settings = services.gateway.settings
    async with services.reading:
        found = await services.gateway.dead_letters.find(int(after), PAGE_SIZE, where)
    shows_ids = settings.console.show_ids
    rows = [letter_row(number, letter, shows_ids=shows_ids) for number, letter in found]
    model = Letters(
        rows=rows,
        filter=given,
        next=rows[-1].number if len(rows) == PAGE_SIZE else None,
        code=explain_code(Stage(given.get("stage", _stage_of(rows))), given["code"]) if "code" in given else None,
        selection=urlencode(given),
        destinations=list(settings.destinations),
        shows_ids=shows_ids,
    )
    return View("letters.html", "Dead letters", model, {"letters": lambda: Table.of(LetterRow, rows)})


async def preview_replay(services: Services, visit: Visit) -> View:
    """What a replay of the selection would do."""
    return await _preview(services, visit, "replay")


async def preview_discard(services: Services, visit: Visit) -> View:
    """What a deletion of the selection would do."""
    return await _preview(services, visit, "discard")


async def _preview(services: Services, visit: Visit, action: str) -> View:
    given = given_filter(visit)
    until = min(float(given.get("until", visit.now)), visit.now)
    given = {**given, "until": f"{until:.6f}"}
    async with services.reading:
        result = await services.gateway.dead_letters.preview(parse_filter(given))
    stays = [
        (KEPT_REASONS.get(reason, f"they are rejected again ({reason})"), count)
        for reason, count in sorted(result.kept.items(), key=lambda item: -item[1])
    ]
    shown = {name: value for name, value in given.items() if name in visit.query}
    model = Preview(action, given, result, stays, f"/problems/letters?{urlencode(shown)}")
    title = "Replay dead letters" if action == "replay" else "Delete dead letters"
    return View("preview.html", title, model)


def given_filter(visit: Visit) -> dict[str, str]:
    """The filter in an address; the form of the page sends the fields that are empty, too."""
    return {name: value.strip() for name, value in visit.query.items() if name in FILTER_PARAMETERS and value.strip()}


def letter_row(number: int, letter: DeadLetter, *, shows_ids: bool) -> LetterRow:
    """A dead letter as a row."""
    return LetterRow(
        number=number,
        at=letter.at,
        stage=letter.stage,
        code=letter.code,
        destination=letter.destination,
        source=letter.source,
        event_set=letter.lane.event_set if letter.lane else None,
        message_id=shown_id(letter.message_id, shows_ids=shows_ids),
        order_id=shown_id(letter.order_id, shows_ids=shows_ids),
        attempts=letter.attempts,
    )


def _stage_of(rows: Sequence[LetterRow]) -> Stage:
    return rows[0].stage if rows else Stage.MAPPING
