"""Sentences for the log that explain why the uploads of a lane stopped, and what an operator has to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.delivery.systemic_failure import MAX_CONSECUTIVE, SYSTEMIC
from gateway.meta import BlockCause


class Explanation(NamedTuple):
    """Why the circuit breaker of a lane is open."""

    reason: str
    """What Meta's response means. Its codes follow in the log line."""
    remedy: str
    """How to fix it."""


EXPLANATIONS: Mapping[str, Explanation] = {
    BlockCause.TOKEN: Explanation(
        "Meta refuses the access token; it is invalid, expired or revoked",
        "Replace the token: a token file is read again before each probe, the settings by a reload, the environment by "
        "a restart.",
    ),
    BlockCause.PERMISSION: Explanation(
        "the access token lacks a permission that the call needs",
        "Give the token's user and app access to the dataset, or use another token.",
    ),
    BlockCause.OBJECT: Explanation(
        "Meta does not know the ID or the token has no access to it",
        "Check the ID and the token.",
    ),
    BlockCause.VERSION: Explanation(
        "Meta does not support the API version of the call any more",
        "Set upload.graph_version to a version that Meta supports and reload the settings.",
    ),
    BlockCause.POLICY: Explanation(
        "Meta has blocked the app or the account for violating a policy",
        "Find the violation in Meta's app dashboard or business support and resolve it.",
    ),
    SYSTEMIC: Explanation(
        f"Meta refused {MAX_CONSECUTIVE} events in a row with the same code",
        "Look at the refused events with `gateway dead-letters list` and fix their common cause.",
    ),
}
"""By kind of `OpenReason`."""


def format_code(code: str) -> str:
    """The code of an outcome as Meta's documentation writes it: `meta_190_463` is 190/463, `http_404` is HTTP 404."""
    origin, _, numbers = code.partition("_")
    return f"HTTP {numbers}" if origin == "http" else numbers.replace("_", "/")
