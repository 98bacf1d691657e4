"""Compiles the settings of a destination and the registry of fields to two specialised Python functions.

The source of `map_event(event, now)` is generated and compiled at start-up, in two versions.

The *fast path* maps events in which every value has its usual form. While it maps an event, no setting is looked up, no
path is split and no list of fields is iterated: each object is fetched once, and a field is a chain of `dict.get`. When
it meets any other value it falls back: it has changed and counted nothing, and the *slow path* maps the event from the
start. The slow path drops unusable values, counts, rejects, and calls `Extractor` for the identity.

Both consist of the same sections in the same order: `routing`, identity (`fast_path` or `slow_path`), `custom_data`,
`encode`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from gateway.mapping.compiler import custom_data, encode, fast_path, routing, slow_path
from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.source import SourceBuilder
from gateway.model import Mapped

MapEvent = Callable[[Any, int], Mapped]

__all__ = ["MapEvent", "Plan", "compile_functions"]

FALL_BACK_NAMES = (
    "as_object",
    "count_wrong_type",
    "find_text",
    "rejected",
    "rejected_for_time",
    "unmapped",
    "without_id",
)
"""Functions that the fast path must not use: calling one makes it fall back."""


def compile_functions(plan: Plan, next_path: MapEvent) -> tuple[str, MapEvent]:
    """The source of both functions, and the fast one, which falls back to the slow one.

    `next_path` maps an event that the slow path cannot encode.
    """
    slow = SourceBuilder("slow_path")
    for section in (routing, slow_path, custom_data, encode):
        section.write(slow, plan)
    slow.names["next_path"] = next_path
    fast = SourceBuilder("fast_path")
    for section in (routing, fast_path, custom_data, encode):
        section.write(fast, plan)
    fast.names |= dict.fromkeys(FALL_BACK_NAMES, fall_back) | {"fall_back": fall_back, "next_path": _execute(slow)}
    return f"{fast.source()}\n\n{slow.source()}", _execute(fast)


def fall_back(*_: Any) -> NoReturn:
    """Leave the fast path, which catches the exception and calls the slow path."""
    raise ValueError("not the usual form")


def _execute(builder: SourceBuilder) -> MapEvent:
    """The function that a builder's source defines."""
    names = builder.names
    source = builder.source()
    exec(compile(source, f"<{builder.name} mapper>", "exec"), names)  # noqa: S102 (our own text; its strings are repr'd)
    function: MapEvent = names[builder.name]
    return function
