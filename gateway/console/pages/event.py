"""The page of an event, which answers: what happened to order 1001."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.admin.gateway import Gateway
from gateway.admin.trace import EventStory, find_event
from gateway.config import Settings
from gateway.console.formats import duration, plural
from gateway.console.pages.letters import LetterRow, letter_row
from gateway.console.redacted import shown_id
from gateway.console.refusals import explain_code
from gateway.console.tables import Table
from gateway.console.view import Services, View, Visit
from gateway.delivery.explanations import EXPLANATIONS
from gateway.identifiers import MAX_ID_LENGTH
from gateway.model import Stage, UnixSeconds
from gateway.trace import TracedEvent, TraceGap, TraceState, WaitingReason


class Fate(StrEnum):
    """What became of an event, in the words of the page."""

    DELIVERED = "delivered"
    WAITING = "waiting"
    REFUSED = "refused"
    UNKNOWN = "unknown"


ALONE: Mapping[Fate, str] = {
    Fate.DELIVERED: "It was delivered to Meta.",
    Fate.WAITING: "It is waiting.",
    Fate.REFUSED: "It was refused.",
    Fate.UNKNOWN: "It was accepted; more is not known.",
}
"""The sentence about an event that is the only one with its ID."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, or has not happened yet."""

    at: UnixSeconds | None
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """What is known about one mapped event, or about one rejected one."""

    fate: Fate
    sentence: str
    action: str
    """What to do next; empty if nothing has to be done."""
    message_id: str | None
    order_id: str | None
    destination: str
    event_set: str | None
    meta_trace_id: str | None
    attempts: int
    letter: int | None
    """Number of its dead letter, if there is one."""
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Event:
    """The page."""

    identifier: str
    """What was searched for; empty if nothing was."""
    stories: Sequence[Story]
    is_cut: bool
    sentence: str
    gaps: Sequence[TraceGap]
    recorded_since: UnixSeconds | None
    is_enabled: bool
    failure: str | None
    trace_days: float
    shows_ids: bool


async def show(services: Services, visit: Visit) -> View:
    """The page."""
    identifier = visit.query.get("id", "").strip()[:MAX_ID_LENGTH]
    found = await _find(services.gateway, identifier)
    model = build(identifier, found, services.gateway.settings, visit.now)
    return View("event.html", "Event", model, {"events": lambda: Table.of(Story, model.stories)})


async def _find(gateway: Gateway, identifier: str) -> EventStory | None:
    return await find_event(gateway, identifier) if identifier else None


def build(identifier: str, found: EventStory | None, settings: Settings, now: UnixSeconds) -> Event:
    """The values of the page."""
    shows_ids = settings.console.show_ids
    stories = [] if found is None else stories_of(found, shows_ids=shows_ids, now=now)
    trace = found.trace if found is not None else None
    return Event(
        identifier=identifier,
        stories=stories,
        is_cut=trace.is_cut if trace is not None else False,
        sentence=sentence_of(stories) if found is not None else "",
        gaps=trace.gaps if trace is not None else (),
        recorded_since=trace.recorded_since if trace is not None else None,
        is_enabled=settings.console.trace_days > 0,
        failure=trace.failure if trace is not None else None,
        trace_days=settings.console.trace_days,
        shows_ids=shows_ids,
    )


def stories_of(found: EventStory, *, shows_ids: bool, now: UnixSeconds) -> list[Story]:
    """The accepted events and the dead letters with the ID, each event once."""
    letters = [letter_row(number, letter, shows_ids=shows_ids) for number, letter in found.dead_letters]
    stories = []
    for event in found.trace.events:
        own = next((letter for letter in letters if _belongs(letter, event)), None)
        if own is not None:
            letters.remove(own)
        stories.append(_of_accepted(event, own, now, shows_ids=shows_ids))
    return [*stories, *(_of_letter(letter) for letter in letters)]


def _belongs(letter: LetterRow, event: TracedEvent) -> bool:
    return (
        event.state is TraceState.DEAD_LETTERED
        and letter.stage is not Stage.MAPPING
        and (letter.destination, letter.event_set) == (event.destination, event.event_set)
        and letter.at >= event.stored_at
    )


def _of_accepted(event: TracedEvent, letter: LetterRow | None, now: UnixSeconds, *, shows_ids: bool) -> Story:
    fate, sentence, action = _outcome(event, now)
    steps = [Step(event.stored_at, "Received, mapped and stored durably; the sender got 200.")]
    if event.state is TraceState.WAITING:
        steps.append(Step(None, sentence))
    elif event.ended_at is not None:
        steps.append(Step(event.ended_at, sentence))
    return Story(
        fate=fate,
        sentence=sentence,
        action=action,
        message_id=shown_id(event.message_id, shows_ids=shows_ids),
        order_id=shown_id(event.order_id, shows_ids=shows_ids),
        destination=event.destination,
        event_set=event.event_set,
        meta_trace_id=event.meta_trace_id,
        attempts=event.attempts,
        letter=letter.number if letter else None,
        steps=steps,
    )


def _outcome(event: TracedEvent, now: UnixSeconds) -> tuple[Fate, str, str]:
    match event.state:
        case TraceState.DELIVERED:
            took = "" if event.ended_at is None else f", {duration(event.ended_at - event.stored_at)} after it came in"
            call = f" in call number {event.attempts}" if event.attempts > 1 else ""
            return Fate.DELIVERED, f"Meta accepted it{took}{call}.", ""
        case TraceState.WAITING:
            return Fate.WAITING, *_waiting(event.waiting, now)
        case TraceState.DEAD_LETTERED:
            meaning, remedy = explain_code(Stage.UPLOAD, event.code or "unknown")
            return Fate.REFUSED, f"{meaning} ({event.code})", remedy
        case TraceState.UNKNOWN:
            return Fate.UNKNOWN, "It was accepted; its end was not recorded.", "The counts of its dataset are complete."


def _waiting(reason: WaitingReason | None, now: UnixSeconds) -> tuple[str, str]:
    if reason is None:
        return "It is waiting in the spool.", ""
    match reason.kind:
        case "batch":
            return "It is waiting for its batch to fill, or to become old enough.", ""
        case "in_flight":
            return "The call that carries it is running.", ""
        case "throttled":
            wait = "" if reason.until is None else f" for {duration(max(1.0, reason.until - now))}"
            return f"It is waiting because Meta's rate limit delays calls{wait}.", ""
        case kind if kind not in EXPLANATIONS:
            return f"It is waiting: uploads are stopped ({kind}).", ""
        case kind:
            explanation = EXPLANATIONS[kind]
            return f"It is waiting, because uploads are stopped: {explanation.reason}.", explanation.remedy


def _of_letter(letter: LetterRow) -> Story:
    meaning, remedy = explain_code(letter.stage, letter.code)
    before = "It was rejected before it was accepted" if letter.stage is Stage.MAPPING else "It became a dead letter"
    return Story(
        fate=Fate.REFUSED,
        sentence=f"{before}: {meaning} ({letter.code})",
        action=remedy,
        message_id=letter.message_id,
        order_id=letter.order_id,
        destination=letter.destination,
        event_set=letter.event_set,
        meta_trace_id=None,
        attempts=letter.attempts,
        letter=letter.number,
        steps=[Step(letter.at, f"{before}.")],
    )


def sentence_of(stories: Sequence[Story]) -> str:
    """All stories in one sentence."""
    if not stories:
        return "No event with this ID is known."
    if len(stories) == 1:
        return ALONE[stories[0].fate]
    parts = [f"{count} {fate.value}" for fate in Fate if (count := sum(1 for story in stories if story.fate is fate))]
    return f"{plural(len(stories), 'event')}: {', '.join(parts)}."
