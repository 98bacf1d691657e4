"""Identity section of the slow path: the extractor reads the match keys, and the event is rejected without any."""

from __future__ import annotations

from gateway.mapping.compiler.plan import Plan
from gateway.mapping.compiler.source import SourceBuilder
from gateway.mapping.dialects import is_weak

WEAK_IDENTITY = '"external_id" not in m and "em" not in m and "ph" not in m and is_weak(m)'
"""Expression: whether Meta refuses the match keys `m`. The keys that usually decide are looked up first."""


def write(builder: SourceBuilder, plan: Plan) -> None:
    """Write this section. Its result is `m`, the match keys."""
    builder.names |= {"extract_identity": plan.extractor.identity, "is_weak": is_weak}
    builder.add(
        """
m = extract_identity(event, at, now)
SEEN[tuple(m)] += 1
if not m:
    return rejected("no_match_key", "The event has no identity of the customer.")
"""
    )
    if plan.is_conversions:
        builder.add(
            f"""
if {WEAK_IDENTITY}:
    return rejected("weak_match_keys", f"Meta refuses an identity of only {{', '.join(sorted(m))}}.")
"""
        )
