"""Where accepted events wait: durable before the sender hears 200, gone in the transaction that settles them.

`Spool` is the promise, with the engines `sqlite` and `memory` behind it; `Intake` is the group commit in front of it.
"""

from gateway.spool.intake import Intake, Overloaded
from gateway.spool.letters import EVERY, DeadLetters, LetterFilter
from gateway.spool.open import Engine, make_spool, spool_file
from gateway.spool.protocol import Spool, SpoolFull, SpoolStatistics, SpoolUnavailable

__all__ = [
    "EVERY",
    "DeadLetters",
    "Engine",
    "Intake",
    "LetterFilter",
    "Overloaded",
    "Spool",
    "SpoolFull",
    "SpoolStatistics",
    "SpoolUnavailable",
    "make_spool",
    "spool_file",
]
