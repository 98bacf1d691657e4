"""The compiled mapper: settings and field table become two specialised Python functions.

At start-up this writes the source of a function `map_event(event, now)` and compiles it. While an event is mapped no
setting is looked up, no path is split and no list of fields is walked: objects are fetched once, a field is a chain of
`dict.get`.

It is written twice. *Quick* reads events in which everything is as usual, in straight lines; at anything else it gives
up, having changed and counted nothing, and *careful* begins anew: it drops what cannot be used, counts, rejects, and
asks `Patient` for what is odd. Both are made of the same parts, in the order in which an event goes through them:
`head`, `identity` (or `quick`), `sale`, `upload`. `Function` is what they write into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from gateway.mapping.compiler import head, identity, quick, sale, upload
from gateway.mapping.compiler.function import Function
from gateway.mapping.compiler.plan import Plan
from gateway.model import Mapped

MapEvent = Callable[[Any, int], Mapped]

__all__ = ["MapEvent", "Plan", "compiled"]

UNUSUAL = ("find_text", "odd", "rejected", "rejected_for_time", "unmapped", "without_id", "wrong")
"""Names that end the quick function: whatever they stand for is careful's to do."""


def compiled(plan: Plan, again: MapEvent) -> tuple[str, MapEvent]:
    """The source of both, and the quick one, which goes on to the other. `again` gets what cannot be encoded."""
    careful = Function("careful")
    for part in (head, identity, sale, upload):
        part.write(careful, plan)
    careful.names["again"] = again
    straight = Function("quick")
    for part in (head, quick, sale, upload):
        part.write(straight, plan)
    straight.names |= dict.fromkeys(UNUSUAL, unusual) | {"unusual": unusual, "again": _executed(careful)}
    return f"{straight.source()}\n\n{careful.source()}", _executed(straight)


def unusual(*_: Any) -> NoReturn:
    """Give up: the quick function catches it."""
    raise ValueError("not as usual")


def _executed(function: Function) -> MapEvent:
    names = function.names
    source = function.source()
    exec(compile(source, f"<{function.name} mapper>", "exec"), names)  # noqa: S102 (its text is ours, its strings are repr'd)
    made: MapEvent = names[function.name]
    return made
