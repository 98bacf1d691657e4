"""The event trace: what became of each accepted event, found by its message ID or order ID.

It is written in bulk by a thread of its own, after events became durable or were acknowledged, and left out first under
load. No event waits for it.
"""

from gateway.trace.files import discard_trace, find_in_ended, trace_file
from gateway.trace.model import Ending, TracedEvent, TraceGap, TraceResult, TraceState, WaitingReason
from gateway.trace.recorder import NoTrace, Tracer, TraceRecorder
from gateway.trace.results import merge, with_waiting_reasons, without_ids

__all__ = [
    "Ending",
    "NoTrace",
    "TraceGap",
    "TraceRecorder",
    "TraceResult",
    "TraceState",
    "TracedEvent",
    "Tracer",
    "WaitingReason",
    "discard_trace",
    "find_in_ended",
    "merge",
    "trace_file",
    "with_waiting_reasons",
    "without_ids",
]
