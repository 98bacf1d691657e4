"""What Meta's codes mean, in a sentence for the dead letters. Meta's texts are not kept: they may quote the event."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import MetaFault

_OF_SUBCODE: Mapping[int, str] = {
    2804003: "its time is too old",
    2804009: "a purchase has no value",
    2804010: "a purchase has no currency",
    2804019: "a parameter is wrong",
    2804030: "the choice of data processing options is missing",
    2804050: "it says too little about the customer, or nothing that Meta can match",
    1815356: "it is not valid",
}


def reason_of(fault: MetaFault | None) -> str:
    """Why Meta refused an event, as far as its codes tell."""
    if fault is None:
        return "Meta refused a call with this event alone, without saying why."
    known = _OF_SUBCODE.get(fault.subcode or 0)
    codes = f"code {fault.code}" + ("" if fault.subcode is None else f", subcode {fault.subcode}")
    return f"Meta refused the event ({codes})" + (f": {known}." if known else ".")
