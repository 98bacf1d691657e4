"""Explanation of one event, field by field: the source path, the value, the value sent, and why a value is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.mapping.coverage import CAUSES
from gateway.mapping.extract import Extractor
from gateway.mapping.fields import (
    CUSTOM,
    EVENT,
    EXTERNAL_IDS,
    FIRST_EXTERNAL_ID,
    IDENTITY,
    NAME,
    Field,
    MatchKey,
    Special,
)
from gateway.mapping.json_path import at, is_blank
from gateway.mapping.mapper import Mapper
from gateway.mapping.rejections import REJECTIONS
from gateway.mapping.routes import DEFAULT_STANDARD_EVENT, Route, routes_of
from gateway.mapping.rules import today_of
from gateway.model import Dialect, JsonObject, NotSent, Rejection


@dataclass(frozen=True, slots=True)
class Step:
    """The result for one field of the registry."""

    field: str
    key: str
    """The key in the upload. For a birthday in `offline`, its three keys."""
    path: str | None
    """The source path with the value."""
    tried: Sequence[str]
    """The source paths up to this one; all of them if no value is present."""
    raw: Any
    normalised: str | None
    """The text that was hashed, or sent."""
    sent: Any
    dropped: str | None
    """Why a value that is present is not sent."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The mapped event for one event set."""

    event_set: str
    upload_tag: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of one event. It is mapped, rejected, ignored, or must not be sent."""

    destination: str
    dialect: Dialect
    event: str | None
    """The name of the event."""
    routes: Sequence[Route]
    steps: Sequence[Step]
    uploads: Sequence[Upload]
    rejection: Rejection | None
    ignored: bool
    """Whether the sender excluded the destination (`integrations`)."""
    not_sent: NotSent | None = None
    """Why the event must not be sent to the destination."""

    @property
    def remedy(self) -> str | None:
        """How to fix the cause of the rejection."""
        return REJECTIONS[self.rejection.code].remedy if self.rejection else None


def explain(mapper: Mapper, event: Any, now: int) -> Explanation:
    """Explain the mapping of an event. `now` is in unix seconds."""
    mapped = mapper.map(event, now)
    name = event.get("event") if isinstance(event, dict) else None
    routes = routes_of(mapper.destination)
    uploads = [
        Upload(each.lane.event_set, each.lane.upload_tag, orjson.loads(each.body))
        for each in (mapped if isinstance(mapped, list) else [])
    ]
    body = uploads[0].body if uploads else {}
    return Explanation(
        destination=mapper.name,
        dialect=mapper.destination.api,
        event=name if isinstance(name, str) else None,
        routes=routes.get(name, routes[DEFAULT_STANDARD_EVENT]) if isinstance(name, str) else (),
        steps=[*_identity_steps(mapper, event, now), *_other_steps(mapper, event, body)]
        if isinstance(event, dict)
        else [],
        uploads=uploads,
        rejection=mapped if isinstance(mapped, Rejection) else None,
        ignored=mapped is None,
        not_sent=mapped if isinstance(mapped, NotSent) else None,
    )


def _identity_steps(mapper: Mapper, event: JsonObject, now: int) -> Sequence[Step]:
    extractor = Extractor(mapper.rules, mapper.paths)
    country = extractor.country(event)
    fields = [field for field in IDENTITY if field.keys(mapper.destination.api)]
    steps = []
    for field, found in extractor.extract(event, fields, today_of(now // 86400)):
        normalised = None
        if isinstance(found.raw, str | list) and found.sent is not None:
            texts = found.raw if isinstance(found.raw, list) else [found.raw]
            normalised = ", ".join(mapper.rules.normalised(field, text, country) or "" for text in texts)
        tried = _paths(mapper, field)
        steps.append(
            Step(
                field=field.name,
                key=", ".join(field.keys(mapper.destination.api)),
                path=found.path,
                tried=tried[: tried.index(found.path) + 1] if found.path in tried else tried,
                raw=found.raw,
                normalised=normalised,
                sent=found.sent,
                dropped=CAUSES.get(found.cause or ""),
            )
        )
    return steps


def _paths(mapper: Mapper, field: MatchKey) -> list[str]:
    """All paths of a match key, with those of its special case."""
    if field.derived_from is not None:
        return next(_paths(mapper, source) for source in IDENTITY if source.name == field.derived_from)
    paths = list(mapper.paths[field.name])
    match field.special:
        case Special.FIRST_WORD | Special.LAST_WORD:
            return [*paths, *mapper.paths[NAME.name]]
        case Special.EMAIL:
            return [*paths, FIRST_EXTERNAL_ID]
        case Special.LEAD_ID:
            return [*EXTERNAL_IDS, *paths]
        case _:
            return paths


def _other_steps(mapper: Mapper, event: JsonObject, body: JsonObject) -> Sequence[Step]:
    """The fields of the event and of the sale: the first value that is present, and the value in the upload."""
    custom = body.get("custom_data", {})
    steps = []
    fields: Sequence[Field] = (*EVENT, *CUSTOM)
    for field in fields:
        for key in field.keys(mapper.destination.api):
            paths = list(mapper.paths[field.name])
            path = next((path for path in paths if not is_blank(at(event, path))), None)
            sent = body.get(key, custom.get(key) if isinstance(custom, dict) else None)
            is_dropped = body and path and sent is None and field.special is not Special.UPLOAD_TAG
            steps.append(
                Step(
                    field=field.name,
                    key=key,
                    path=path,
                    tried=paths[: paths.index(path) + 1] if path else paths,
                    raw=at(event, path) if path else None,
                    normalised=None,
                    sent=sent,
                    dropped=CAUSES["malformed"] if is_dropped else None,
                )
            )
    return steps
