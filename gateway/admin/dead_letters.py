"""Dead letters in the admin API: the filter of a query string, and JSON responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from gateway.dead_letters import DeadLetterOperations
from gateway.model import DeadLetter, JsonObject, Stage
from gateway.spool import DeadLetterFilter

MAX_PAGE_SIZE = 1000
TEXT_PARAMETERS = ("code", "destination", "event_set")
PARAMETERS = frozenset({*TEXT_PARAMETERS, "stage", "since", "until", "after", "limit"})


class BadQuery(ValueError):
    """An invalid query string; the message names the parameter and its allowed values."""


def parse_filter(query: Mapping[str, str]) -> DeadLetterFilter:
    """The filter in a query string.

    Raises `BadQuery`, also for an unknown parameter: ignoring a misspelt one would select more dead letters.
    """
    if unknown := sorted(set(query) - PARAMETERS):
        raise BadQuery(f"`{unknown[0]}` is not a parameter; use {', '.join(sorted(PARAMETERS))}.")
    try:
        stage = Stage(query["stage"]) if "stage" in query else None
        since, until = (float(query[key]) if key in query else None for key in ("since", "until"))
    except ValueError:
        raise BadQuery(
            f"`since` and `until` must be unix seconds, `stage` one of {', '.join(stage.value for stage in Stage)}."
        ) from None
    code, destination, event_set = (query.get(key) for key in TEXT_PARAMETERS)
    return DeadLetterFilter(
        code=code, destination=destination, event_set=event_set, stage=stage, since=since, until=until
    )


async def list_page(dead_letters: DeadLetterOperations, query: Mapping[str, str]) -> JsonObject:
    """One page of the matching dead letters, in the order of their numbers. Raises `BadQuery`."""
    try:
        after, limit = int(query.get("after", "0")), int(query.get("limit", "100"))
    except ValueError:
        raise BadQuery("`after` and `limit` must be whole numbers.") from None
    if not 0 <= after < 2**63 or not 1 <= limit <= MAX_PAGE_SIZE:
        raise BadQuery(f"`after` must be 0 or more, `limit` 1 to {MAX_PAGE_SIZE}.")
    letters = await dead_letters.find(after, limit, parse_filter(query))
    return {"dead_letters": [as_json(number, letter) for number, letter in letters]}


async def run_action(dead_letters: DeadLetterOperations, action: str, where: DeadLetterFilter) -> JsonObject:
    """Replay or discard the matching dead letters; `action` is `replay` or `discard`."""
    if action == "replay":
        return asdict(await dead_letters.replay(where))
    return {"letters": await dead_letters.discard(where)}


def as_json(number: int, letter: DeadLetter) -> JsonObject:
    """A dead letter as JSON, with its event as text."""
    fault = letter.fault
    return {
        "number": number,
        "stage": letter.stage.value,
        "code": letter.code,
        "message": letter.message,
        "destination": letter.destination,
        "source": letter.source,
        "event_set": letter.lane.event_set if letter.lane else None,
        "upload_tag": letter.lane.upload_tag if letter.lane else None,
        "at": letter.at,
        "attempts": letter.attempts,
        "meta": {"code": fault.code, "subcode": fault.subcode, "trace_id": fault.trace_id} if fault else None,
        "event": letter.event.decode() if letter.event is not None else None,
    }
