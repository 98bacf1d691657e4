"""`gateway check` warns about sizes of the spool that do not fit each other, with the given number of workers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.check import warnings_of
from gateway.config import Settings

MIB = 2**20


def warnings(spool: dict[str, Any], **server: Any) -> list[str]:
    tree = {
        "spool": spool,
        "server": server,
        "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
        "destinations": {
            "store": {
                "api": "conversions",
                "access_token": "token",
                "standard_to_event_sets": {"Purchase": ["1"]},
                "upload": {"graph_url": "http://127.0.0.1:1"},
            }
        },
    }
    return list(warnings_of(Settings.model_validate(tree), "2026-01-01"))


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_the_defaults_fit(workers: int) -> None:
    assert warnings({}, workers=workers) == []


def test_a_dead_letter_limit_larger_than_their_share_is_reported() -> None:
    (warning,) = warnings({"max_bytes": "64MiB"})
    assert warning.startswith("spool.dead_letter_bytes is 1073741824, but dead letters take at most 16777216 bytes")
    assert warnings({"max_bytes": "64MiB", "dead_letter_bytes": "16MiB"}) == []


def test_a_spool_that_is_too_small_for_a_request_is_reported_with_a_size_that_fits() -> None:
    spool = {"max_bytes": 8 * MIB, "dead_letter_bytes": MIB}
    assert warnings(spool) == []
    (warning,) = warnings(spool, workers=4)
    assert "each of the 4 workers has a spool file of 2097152 bytes" in warning
    enough = int(warning.split("Raise spool.max_bytes to ")[1].split(",")[0])
    assert warnings({**spool, "max_bytes": enough}, workers=4) == []
    assert warnings({**spool, "max_bytes": enough}, workers=4, max_request_bytes="5MiB") != []


def test_the_sizes_of_the_reported_fault_are_warned_about() -> None:
    """4 MiB with the default limit of dead letters: they filled the spool, and `check` found no fault."""
    assert len(warnings({"max_bytes": 4 * MIB})) == 2
