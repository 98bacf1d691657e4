"""The playground, which answers: what would Meta get. Nothing is stored, counted or sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.admin.dead_letters import BadQuery
from gateway.console.examples import EXAMPLES
from gateway.console.view import Services, View, Visit
from gateway.mapping.explain import Explanation, Step, explain
from gateway.mapping.masking import NOT_PERSONAL, masked
from gateway.model import NotSent

MAX_VALUE = 80
"""Characters of a value in the table; the rest is cut."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one field."""

    field: str
    key: str
    found_at: str
    """The source path, or how many paths were tried."""
    value: str
    normalised: str
    sent: str
    dropped: str | None
    is_sent: bool

    @property
    def has_value(self) -> bool:
        """Whether the event has a value, or one is sent without it."""
        return self.is_sent or self.dropped is not None


@dataclass(frozen=True, slots=True)
class UploadView:
    """One event as it would be uploaded."""

    event_set: str
    upload_tag: str
    body: str


@dataclass(frozen=True, slots=True)
class Result:
    """What would happen to the event."""

    summary: str
    is_mapped: bool
    remedy: str
    routes: Sequence[str]
    uploads: Sequence[UploadView]
    rows: Sequence[Row]
    """Fields with a value."""
    absent: Sequence[Row]
    """Fields without one."""


@dataclass(frozen=True, slots=True)
class Playground:
    """The page."""

    destinations: Mapping[str, str]
    """By name, the dialect."""
    destination: str
    example: str
    examples: Sequence[str]
    event: str
    """The text in the editor."""
    shows_values: bool
    result: Result | None
    error: str | None
    """Why the text is no event."""


async def show(services: Services, visit: Visit) -> View:
    """The page. Raises `BadQuery`."""
    settings = services.gateway.settings
    given = visit.form or visit.query
    name = given.get("destination") or next(iter(settings.destinations))
    example = given.get("example") or next(iter(EXAMPLES))
    if name not in settings.destinations:
        raise BadQuery(f"`destination` must be one of {', '.join(settings.destinations)}.")
    if example not in EXAMPLES:
        raise BadQuery(f"`example` must be one of {', '.join(EXAMPLES)}.")
    text = visit.form.get("event") or _example_text(example, visit.now)
    shows_values = "show_values" in given
    result, error = None, None
    if len(text.encode(errors="replace")) > settings.server.max_event_bytes:
        error = f"The event is larger than `server.max_event_bytes` ({settings.server.max_event_bytes:,} bytes)."
    else:
        try:
            event = orjson.loads(text.encode(errors="replace"))
        except orjson.JSONDecodeError as problem:
            error = f"This is not valid JSON: line {problem.lineno}, column {problem.colno}: {problem.msg}."
        else:
            mapper = await services.mappers.get(settings, name)
            result = result_of(explain(mapper, event, int(visit.now)), shows_values=shows_values)
    model = Playground(
        destinations={each: destination.api.value for each, destination in settings.destinations.items()},
        destination=name,
        example=example,
        examples=list(EXAMPLES),
        event=text,
        shows_values=shows_values,
        result=result,
        error=error,
    )
    return View("playground.html", "Playground", model)


def _example_text(name: str, now: float) -> str:
    return orjson.dumps(EXAMPLES[name](now), option=orjson.OPT_INDENT_2).decode()


def result_of(explanation: Explanation, *, shows_values: bool) -> Result:
    """The explanation as the page shows it."""
    summary, remedy = _summary(explanation)
    rows = [_row(step, shows_values=shows_values) for step in explanation.steps]
    return Result(
        summary=summary,
        is_mapped=bool(explanation.uploads),
        remedy=remedy,
        routes=[
            f"{explanation.event} → {route.standard} → "
            + (", ".join(route.event_sets) or "no dataset: `standard_to_event_sets` lists none for it")
            for route in explanation.routes
        ],
        uploads=[
            UploadView(
                upload.event_set, upload.upload_tag, orjson.dumps(upload.body, option=orjson.OPT_INDENT_2).decode()
            )
            for upload in explanation.uploads
        ],
        rows=[row for row in rows if row.has_value],
        absent=[row for row in rows if not row.has_value],
    )


def _summary(explanation: Explanation) -> tuple[str, str]:
    if explanation.rejection is not None:
        return f"Rejected: {explanation.rejection.code}. {explanation.rejection.message}", explanation.remedy or ""
    if explanation.not_sent is NotSent.CONSENT_DENIED:
        return "Not sent: the event denies the consent that this destination needs. Nothing of it is kept.", ""
    if explanation.ignored:
        return "Ignored: the event's `integrations` exclude this destination.", ""
    targets = ", ".join(f"{upload.body['event_name']} to dataset {upload.event_set}" for upload in explanation.uploads)
    return f"Accepted: {targets}.", ""


def _row(step: Step, *, shows_values: bool) -> Row:
    is_open = shows_values or step.field in NOT_PERSONAL
    nothing = f"not found: {', '.join(step.tried)}" if step.tried else ""
    return Row(
        field=step.field,
        key=step.key,
        found_at=step.path or nothing,
        value=_text(step.raw if is_open else masked(step.raw)),
        normalised=_text(step.normalised if is_open else masked(step.normalised)),
        sent=_text(step.sent),
        dropped=step.dropped,
        is_sent=step.sent is not None,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
