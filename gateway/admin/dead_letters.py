"""Dead letters in the admin API: the filter of a query string, and JSON responses."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from gateway.dead_letters import DeadLetterOperations
from gateway.identifiers import short_id
from gateway.model import DeadLetter, JsonObject, Stage
from gateway.spool import DeadLetterFilter

MAX_PAGE_SIZE = 1000
TEXT_PARAMETERS = ("code", "destination", "event_set")
ID_PARAMETERS = ("message_id", "order_id")
FILTER_PARAMETERS = frozenset({*TEXT_PARAMETERS, *ID_PARAMETERS, "stage", "since", "until"})
PAGE_PARAMETERS = FILTER_PARAMETERS | {"after", "limit"}

_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
"""Eleven digits reach the year 5138. A time in milliseconds has more, and would match every dead letter."""
_NUMBER = re.compile(r"[0-9]{1,19}")


class BadQuery(ValueError):
    """An invalid query string; the message names the parameter and its allowed values."""


def check_parameters(query: Mapping[str, str], allowed: Collection[str]) -> None:
    """Raise `BadQuery` for a parameter that is unknown, repeated, empty or no text.

    Ignoring one would select more than the caller meant.
    """
    names = [name for name, _ in query.items()]  # a multidict has an item for each repetition
    if unknown := sorted(set(names) - set(allowed)):
        expected = f"use {', '.join(sorted(allowed))}" if allowed else "this route has none"
        raise BadQuery(f"`{unknown[0]}` is not a parameter; {expected}.")
    for name in allowed:
        if names.count(name) > 1:
            raise BadQuery(f"`{name}` is given more than once; give it once.")
        value = query.get(name)
        if value is None:
            continue
        if not value:
            raise BadQuery(f"`{name}` is empty; give it a value or leave it out.")
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise BadQuery(f"`{name}` must be UTF-8 text without null characters.")


def parse_filter(query: Mapping[str, str], allowed: Collection[str] = FILTER_PARAMETERS) -> DeadLetterFilter:
    """The filter in a query string. Raises `BadQuery`, also for a parameter that is not in `allowed`."""
    check_parameters(query, allowed)
    try:
        stage = Stage(query["stage"]) if "stage" in query else None
    except ValueError:
        raise BadQuery(f"`stage` must be one of {', '.join(stage.value for stage in Stage)}.") from None
    code, destination, event_set = (query.get(name) for name in TEXT_PARAMETERS)
    message_id, order_id = (short_id(query.get(name)) for name in ID_PARAMETERS)
    return DeadLetterFilter(
        code=code,
        destination=destination,
        event_set=event_set,
        stage=stage,
        since=parse_seconds(query, "since"),
        until=parse_seconds(query, "until"),
        message_id=message_id,
        order_id=order_id,
    )


def parse_seconds(query: Mapping[str, str], name: str) -> float | None:
    """The unix time of a parameter; None if it is not given. Raises `BadQuery`."""
    given = query.get(name)
    if given is None:
        return None
    if not _SECONDS.fullmatch(given):
        raise BadQuery(f"`{name}` must be unix seconds of at most 11 digits, such as 1772366400 or 1772366400.5.")
    return float(given)


async def list_page(dead_letters: DeadLetterOperations, query: Mapping[str, str]) -> JsonObject:
    """One page of the matching dead letters, in the order of their numbers. Raises `BadQuery`.

    `next` is the value of `after` for the next page; it is null after the last page, which has no dead letters.
    """
    where = parse_filter(query, PAGE_PARAMETERS)
    after, limit = query.get("after", "0"), query.get("limit", "100")
    if not _NUMBER.fullmatch(after) or int(after) >= 2**63:
        raise BadQuery("`after` must be the number of a dead letter, or 0.")
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MAX_PAGE_SIZE:
        raise BadQuery(f"`limit` must be 1 to {MAX_PAGE_SIZE}.")
    letters = await dead_letters.find(int(after), int(limit), where)
    return {
        "dead_letters": [as_json(number, letter) for number, letter in letters],
        "next": letters[-1][0] if letters else None,
    }


async def count_codes(dead_letters: DeadLetterOperations, query: Mapping[str, str]) -> JsonObject:
    """The number of dead letters by code, the most frequent first. Raises `BadQuery`: there are no parameters."""
    check_parameters(query, ())
    return {"codes": dict(await dead_letters.codes())}


async def run_action(dead_letters: DeadLetterOperations, action: str, where: DeadLetterFilter) -> JsonObject:
    """Replay or discard the matching dead letters; `action` is `replay` or `discard`."""
    if action == "replay":
        result = await dead_letters.replay(where)
        return {"letters": result.letters, "events": result.events, "kept": dict(result.kept)}
    return {"letters": await dead_letters.discard(where)}


def as_json(number: int, letter: DeadLetter) -> JsonObject:
    r"""A dead letter as JSON, with its event as text. Bytes that are not UTF-8 are shown as `\xff`."""
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
        "message_id": letter.message_id,
        "order_id": letter.order_id,
        "attempts": letter.attempts,
        "meta": {"code": fault.code, "subcode": fault.subcode, "trace_id": fault.trace_id} if fault else None,
        "event": letter.event.decode(errors="backslashreplace") if letter.event is not None else None,
    }
