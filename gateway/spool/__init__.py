"""Durable storage of accepted events: stored before the sender gets its 200, removed when they are acknowledged.

`Spool` is the interface, with the engines `sqlite` and `memory`; `GroupCommitter` commits many requests at once.
"""

from gateway.spool.dead_letter_store import ALL_DEAD_LETTERS, DeadLetterFilter, DeadLetterStore
from gateway.spool.factory import (
    StorageEngine,
    create_spool,
    dead_letter_limit,
    delete_spool,
    spool_file,
    spool_file_numbers,
)
from gateway.spool.group_commit import CommitQueueFull, GroupCommitter
from gateway.spool.protocol import Spool, SpoolFull, SpoolUnavailable

__all__ = [
    "ALL_DEAD_LETTERS",
    "CommitQueueFull",
    "DeadLetterFilter",
    "DeadLetterStore",
    "GroupCommitter",
    "Spool",
    "SpoolFull",
    "SpoolUnavailable",
    "StorageEngine",
    "create_spool",
    "dead_letter_limit",
    "delete_spool",
    "spool_file",
    "spool_file_numbers",
]
