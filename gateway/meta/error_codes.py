"""Error codes of Meta's Graph API: what each one means for the call, and a sentence for the dead letter.

Source: Meta's error handling page and the sources of Meta's SDKs. Texts of error responses are never stored, because
they may quote the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.model import MetaFault


class BlockCause(StrEnum):
    """What has to be fixed before any call of a lane can succeed."""

    TOKEN = "token"  # noqa: S105 (a word, not a secret)
    PERMISSION = "permission"
    OBJECT = "object"
    """The event set does not exist, or the token has no access to it."""
    VERSION = "version"
    POLICY = "policy"


TEMPORARY_CODES = frozenset({1, 2, 5000, 21009})
THROTTLED_CODES = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
REQUEST_CODES = frozenset({100, 105})
"""A parameter is invalid: of the whole call, or of one event."""

TOKEN_CODES = frozenset({102, 104, 190})
TOKEN_SUBCODES = frozenset({458, 459, 460, 463, 464, 467, 492, 493})
PERMISSION_CODES = frozenset({3, 10, *range(200, 300)})
VERSION_CODES = frozenset({2635})
POLICY_CODES = frozenset({368})
OBJECT_SUBCODES = frozenset({33, 34, 2044055})
"""Subcodes of code 100: the event set does not exist, or the token has no access to it."""

DUPLICATE_POST_CODE = 506
ALREADY_UPLOADED_SUBCODE = 2044011
"""Subcode of code 100: the events were uploaded before. Meta's own uploader counts them as delivered."""

_SUBCODE_MEANINGS: Mapping[int, str] = {
    2804003: "the event time is too old",
    2804009: "a purchase has no value",
    2804010: "a purchase has no currency",
    2804019: "a parameter is invalid",
    2804030: "the data processing options are missing",
    2804050: "the customer information is missing, or not enough to match a person",
    1815356: "the event is invalid",
}


def block_cause(code: int, subcode: int | None) -> BlockCause | None:
    """Why no call of the lane can succeed; None when the codes do not say so."""
    if code in TOKEN_CODES or subcode in TOKEN_SUBCODES:
        return BlockCause.TOKEN
    if code in VERSION_CODES:
        return BlockCause.VERSION
    if code in POLICY_CODES:
        return BlockCause.POLICY
    if code in PERMISSION_CODES:
        return BlockCause.PERMISSION
    if code == 100 and subcode in OBJECT_SUBCODES:
        return BlockCause.OBJECT
    return None


def is_already_uploaded(code: int, subcode: int | None) -> bool:
    """Whether the error says that the same call succeeded before."""
    return code == DUPLICATE_POST_CODE or (code == 100 and subcode == ALREADY_UPLOADED_SUBCODE)


def describe(fault: MetaFault | None) -> str:
    """The reason for which Meta refused an event, as far as its codes say."""
    if fault is None:
        return "Meta refused a call with this event alone, without giving a reason."
    meaning = _SUBCODE_MEANINGS.get(fault.subcode or 0)
    codes = f"code {fault.code}" + ("" if fault.subcode is None else f", subcode {fault.subcode}")
    return f"Meta refused the event ({codes})" + (f": {meaning}." if meaning else ".")
