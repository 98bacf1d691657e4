"""The audit log: one line for each action, with who did what to how many. It has no IDs and no content of events."""

from __future__ import annotations

import logging
from dataclasses import fields

from gateway.admin.access import Identity
from gateway.spool import DeadLetterFilter

log = logging.getLogger("gateway.audit")

SHOWN = frozenset({"code", "destination", "event_set", "stage", "since", "until"})
"""Fields of a filter that are logged with their values. Of the others, which are IDs, only the names are."""


def record(identity: Identity, action: str, *, count: int, via: str = "http", **details: str | None) -> None:
    """Log an action, such as `replay`; `count`: how many dead letters or lanes it changed, `via`: from where.

    A value of `details` that selected nothing may be any text, so that only its name is logged.
    """
    given = {name: value if count else "given" for name, value in details.items() if value is not None}
    log.info(
        "%s by %s",
        action,
        identity.name,
        extra={"action": action, "by": identity.name, "count": count, "via": via, **given},
    )


def describe_filter(where: DeadLetterFilter) -> dict[str, str]:
    """The fields of a filter for `record`."""
    given = {field.name: getattr(where, field.name) for field in fields(where)}
    return {name: str(value) if name in SHOWN else "given" for name, value in given.items() if value is not None}
