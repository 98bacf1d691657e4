"""Recovery of a damaged spool file, and the checks that find the damage.

`recover` replaces a damaged file by a new one with all rows that can still be read from it and its write-ahead log.
`find_damage` checks a database in bounded time; `verify` reads every row.
"""

from gateway.spool.sqlite.recovery.quick_check import START_CHECK_SECONDS, find_damage
from gateway.spool.sqlite.recovery.recover import (
    RecoveryResult,
    finish_recovery,
    missing_beside_log,
    recover,
    write_anew,
)
from gateway.spool.sqlite.recovery.verify import VerifyResult, backlogs, recover_file, verify

__all__ = [
    "START_CHECK_SECONDS",
    "RecoveryResult",
    "VerifyResult",
    "backlogs",
    "find_damage",
    "finish_recovery",
    "missing_beside_log",
    "recover",
    "recover_file",
    "verify",
    "write_anew",
]
