"""Routing section: the event sets that receive the event, its time, and its action source.

Also the texts of the event that need no code of their own, such as `event_id`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.consent import denier
from gateway.mapping.dialects import ACTION_SOURCES, FUTURE_TOLERANCE, LONG_WINDOW, SHORT_WINDOW
from gateway.mapping.fields import EVENT, Field
from gateway.mapping.json_path import text_of, unix_seconds
from gateway.mapping.personal import is_personal_text
from gateway.mapping.rejections import rejected
from gateway.mapping.routes import DEFAULT_STANDARD_EVENT, excluder, similar_name, switches_of
from gateway.model import NotSent, Rejection


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this section."""
    builder.names |= {
        "ACTION_SOURCES": ACTION_SOURCES,
        "NOTES": plan.counters.notes,
        "OTHER": plan.targets[DEFAULT_STANDARD_EVENT],
        "ROUTES": plan.targets,
        "SEEN": plan.counters.seen,
        "find_text": plan.find_text,
        "as_object": plan.as_object,
        "rejected": rejected,
        "rejected_for_time": _counted_rejection(plan),
        "text_of": text_of,
        "unix_seconds": unix_seconds,
        "SWITCHES": frozenset(switches_of(plan.dialect)),
        "is_excluded": excluder(plan.dialect),
        "unmapped": _unmapped(plan),
        "count_wrong_type": plan.count_wrong_type,
    }
    _consent(builder, plan)
    _route(builder)
    paths = itertools.chain.from_iterable(plan.paths.values())
    builder.open_all(["context.page", *(path.rpartition(".")[0] for path in paths)])
    for field in EVENT:
        if is_text(field, plan):
            text(builder, plan, field)
    _time(builder, plan)
    _action_source(builder, plan)
    _window(builder, plan)


def is_text(field: Field, plan: Plan) -> bool:
    """Whether a field is sent in the dialect and needs no code of its own: its value is a text."""
    return field.special is None and field.convert is None and bool(field.keys(plan.dialect))


def text_variable(field: Field) -> str:
    """The variable with the text of a field that needs no code of its own."""
    return f"text_{field.name}"


def text(builder: SourceBuilder, plan: Plan, field: Field) -> None:
    """Write the variable of a field: its text, trimmed, or None."""
    x = text_variable(field)
    builder.chain(x, plan.paths[field.name])
    is_usable = f"{x}.__class__ is str and len({x}) <= {field.max_length}"
    if field.screened:
        builder.names["is_personal_text"] = is_personal_text
        is_usable += f" and not is_personal_text({x})"
    builder.add(
        f"""
if {x} is not None:
    {x} = {x}.strip() if {is_usable} else None
    if not {x}: {x} = find_text(event, {field.name!r})
"""
    )


def _consent(builder: SourceBuilder, plan: Plan) -> None:
    """Write the check of consent. It comes before every rejection: nothing of an event that denies it may be kept."""
    builder.add(
        """
if event.__class__ is not dict:
    return rejected("not_an_object", "The event is no JSON object.")
"""
    )
    if plan.destination.consent is not None:
        builder.names |= {"CONSENT_DENIED": NotSent.CONSENT_DENIED, "denies_consent": denier(plan.destination.consent)}
        builder.add("if denies_consent(event): return CONSENT_DENIED")


def _route(builder: SourceBuilder) -> None:
    builder.add(
        """
name = event.get("event")
routes = ROUTES.get(name) if name.__class__ is str else None
if routes is None:
    name = text_of(name)
    if name is None:
        return rejected("missing_event_name", "The track call has no event name.")
    routes = ROUTES.get(name)
    if routes is None:
        routes = OTHER
integrations = event.get("integrations")
integration = None
if integrations is not None:
    if integrations.__class__ is dict:
        if not SWITCHES.isdisjoint(integrations):
            if is_excluded(integrations): return None
            integration = integrations.get("FacebookOfflineConversions")
            if integration is None:
                integration = integrations.get("Facebook Offline Conversions")
        elif integrations.get("All") is False:
            return None
    else:
        count_wrong_type()
if not routes:
    return unmapped(name)
"""
    )


def _time(builder: SourceBuilder, plan: Plan) -> None:
    builder.chain("at", plan.paths["event_time"])
    builder.add(
        f"""
if at is None:
    at = now
else:
    at = unix_seconds(at)
    if at is None:
        given = find_text(event, "event_time")
        at = now if given is None else unix_seconds(given)
        if at is None:
            return rejected_for_time("event_time_invalid", "The event's time cannot be read.")
if at > now:
    if at - now > {FUTURE_TOLERANCE}:
        return rejected_for_time("event_time_in_future", f"The event is {{at - now}} seconds in the future.")
    at = now
"""
    )


def _action_source(builder: SourceBuilder, plan: Plan) -> None:
    default = plan.destination.action_source or ("physical_store" if plan.is_conversions else None)
    builder.chain("source", plan.paths["action_source"])
    builder.add(
        f"""
own_source = False
if source is None:
    source = {default!r}
else:
    if source.__class__ is not str or source not in ACTION_SOURCES:
        source = find_text(event, "action_source")
        if source is not None:
            source = source.strip().lower()
            if source not in ACTION_SOURCES:
                count_wrong_type()
                source = None
    if source is None:
        source = {default!r}
    else:
        own_source = True
"""
    )
    if plan.destination.crm:
        builder.add('source = "system_generated"')


def _window(builder: SourceBuilder, plan: Plan) -> None:
    long = str(LONG_WINDOW)
    builder.add(
        f"""
window = {f"{long} if source == 'physical_store' else {SHORT_WINDOW}" if plan.is_conversions else long}
if now - at > window:
    return rejected_for_time("event_time_too_old", f"The event is {{(now - at) // 86400}} days old.")
"""
    )


def _counted_rejection(plan: Plan) -> Callable[[str, str], Rejection]:
    """`rejected` for an event whose identity was not read yet. It counts as an event without match keys."""
    seen = plan.counters.seen

    def counted(code: str, detail: str) -> Rejection:
        seen[()] += 1
        return rejected(code, detail)

    return counted


def _unmapped(plan: Plan) -> Callable[[str], Rejection]:
    """The rejection of an event name that no event set receives."""
    mapped = [event for event, targets in plan.targets.items() if targets]

    def unmapped(event: str) -> Rejection:
        similar = similar_name(event, mapped)
        hint = f" (did you mean {similar!r}?)" if similar else ""
        return rejected("unmapped_event", f"{event[:100]!r} has no event set in destination {plan.name}{hint}.")

    return unmapped
