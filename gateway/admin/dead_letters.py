"""The dead letters as the operators' face gives them: a query in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from gateway.dead_letters import DeadLetterOperations
from gateway.model import DeadLetter, JsonObject, Stage
from gateway.spool import DeadLetterFilter

MOST_LETTERS = 1000
TEXTS = ("code", "destination", "event_set")
KEYS = frozenset({*TEXTS, "stage", "since", "until", "after", "limit"})


class BadQuery(ValueError):
    """A query that cannot be understood; the message says what it may be."""


def where_of(query: Mapping[str, str]) -> DeadLetterFilter:
    """Which letters a query means. Raises `BadQuery`: an unknown key may not widen what is meant."""
    if unknown := sorted(set(query) - KEYS):
        raise BadQuery(f"`{unknown[0]}` is no key; there are {', '.join(sorted(KEYS))}.")
    try:
        stage = Stage(query["stage"]) if "stage" in query else None
        since, until = (float(query[key]) if key in query else None for key in ("since", "until"))
    except ValueError:
        raise BadQuery(
            f"`since` and `until` are unix seconds, `stage` is one of {', '.join(stage.value for stage in Stage)}."
        ) from None
    code, destination, event_set = (query.get(key) for key in TEXTS)
    return DeadLetterFilter(
        code=code, destination=destination, event_set=event_set, stage=stage, since=since, until=until
    )


async def listed(dead_letters: DeadLetterOperations, query: Mapping[str, str]) -> JsonObject:
    """A page of those that match, oldest first, with a number above `after`."""
    try:
        after, limit = int(query.get("after", "0")), int(query.get("limit", "100"))
    except ValueError:
        raise BadQuery("`after` and `limit` are whole numbers.") from None
    if not 0 <= after < 2**63 or not 1 <= limit <= MOST_LETTERS:
        raise BadQuery(f"`after` is 0 or more, `limit` 1 to {MOST_LETTERS}.")
    found = await dead_letters.find(after, limit, where_of(query))
    return {"dead_letters": [as_json(number, letter) for number, letter in found]}


async def act_on(dead_letters: DeadLetterOperations, what: str, where: DeadLetterFilter) -> JsonObject:
    """Replay or discard those that match."""
    if what == "replay":
        return asdict(await dead_letters.replay(where))
    return {"letters": await dead_letters.discard(where)}


def as_json(number: int, letter: DeadLetter) -> JsonObject:
    """A dead letter with its event."""
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
