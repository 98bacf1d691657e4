"""One event, field by field: where each value came from, what became of it, and why something is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.mapping.coverage import CAUSES
from gateway.mapping.extract import EXTERNAL_IDS, LAST_RESORT, Extractor
from gateway.mapping.fields import CUSTOM, EVENT, IDENTITY, NAME, Field
from gateway.mapping.json_path import at, is_blank
from gateway.mapping.mapper import Mapper
from gateway.mapping.rejections import REJECTIONS
from gateway.mapping.routes import DEFAULT_STANDARD_EVENT, Route, routes_of
from gateway.mapping.rules import today_of
from gateway.model import Dialect, JsonObject, Rejection


@dataclass(frozen=True, slots=True)
class Step:
    """One field of the table, for one event."""

    field: str
    key: str
    """Where it stands in the upload."""
    path: str | None
    """The source path that won."""
    tried: Sequence[str]
    """The paths that were looked at."""
    raw: Any
    normalised: str | None
    sent: Any
    dropped: str | None
    """Why nothing is sent although a value was there."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What goes to one event set."""

    event_set: str
    upload_tag: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of it. Exactly one of `uploads`, `rejection` and `ignored` says what happens."""

    destination: str
    dialect: Dialect
    event: str | None
    routes: Sequence[Route]
    steps: Sequence[Step]
    uploads: Sequence[Upload]
    rejection: Rejection | None
    ignored: bool

    @property
    def remedy(self) -> str | None:
        """What to do about the rejection."""
        return REJECTIONS[self.rejection.code].remedy if self.rejection else None


def explain(mapper: Mapper, event: Any, now: int) -> Explanation:
    """Explain what becomes of an event at a time in unix seconds."""
    mapped = mapper.map(event, now)
    name = event.get("event") if isinstance(event, dict) else None
    routes = routes_of(mapper.destination)
    uploads = [
        Upload(one.lane.event_set, one.lane.upload_tag, orjson.loads(one.body))
        for one in (mapped if isinstance(mapped, list) else [])
    ]
    body = uploads[0].body if uploads else {}
    return Explanation(
        destination=mapper.name,
        dialect=mapper.destination.api,
        event=name if isinstance(name, str) else None,
        routes=routes.get(name, routes[DEFAULT_STANDARD_EVENT]) if isinstance(name, str) else (),
        steps=[*_identity(mapper, event, now), *_others(mapper, event, body)] if isinstance(event, dict) else [],
        uploads=uploads,
        rejection=mapped if isinstance(mapped, Rejection) else None,
        ignored=mapped is None,
    )


def _identity(mapper: Mapper, event: JsonObject, now: int) -> Sequence[Step]:
    extractor = Extractor(mapper.rules, mapper.paths)
    country = extractor.code(event)
    steps = []
    for field in IDENTITY:
        key = field.key(mapper.destination.api)
        if key is None:
            continue
        found = extractor.find(event, field.name, country, today_of(now // 86400))
        tried = _tried(mapper, field)
        raw = found.raw
        normalised = None
        if isinstance(raw, str | list) and found.sent is not None:
            texts = raw if isinstance(raw, list) else [raw]
            normalised = ", ".join(mapper.rules.normalised(field.name, text, country) or "" for text in texts)
        steps.append(
            Step(
                field=field.name,
                key=key,
                path=found.path,
                tried=tried[: tried.index(found.path) + 1] if found.path in tried else tried,
                raw=raw,
                normalised=normalised,
                sent=found.sent,
                dropped=CAUSES.get(found.cause or ""),
            )
        )
    return steps


def _tried(mapper: Mapper, field: Field) -> list[str]:
    paths = list(mapper.paths[field.name])
    if field.name in {"first_name", "last_name"}:
        paths += NAME.paths
    if field.name == "email":
        paths.append(LAST_RESORT)
    if field.name == "lead_id":
        paths = [*EXTERNAL_IDS, *paths]
    return paths


def _others(mapper: Mapper, event: JsonObject, body: JsonObject) -> Sequence[Step]:
    """What is no identity: the source that is present, and what stands in the upload."""
    custom = body.get("custom_data", {})
    steps = []
    for field in (*EVENT, *CUSTOM):
        key = field.key(mapper.destination.api)
        if key is None:
            continue
        paths = list(mapper.paths[field.name])
        won = next((path for path in paths if not is_blank(at(event, path))), None)
        sent = body.get(key, custom.get(key) if isinstance(custom, dict) else None)
        raw = at(event, won) if won else None
        steps.append(
            Step(
                field=field.name,
                key=key,
                path=won,
                tried=paths[: paths.index(won) + 1] if won else paths,
                raw=raw,
                normalised=None,
                sent=sent,
                dropped=CAUSES["malformed"] if body and won and sent is None and field.name != "upload_tag" else None,
            )
        )
    return steps
