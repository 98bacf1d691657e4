"""Where accepted events wait: durable before the sender hears 200, gone in the transaction that settles them.

`Spool` is the promise, with the engines `sqlite` and `memory` behind it; `Intake` is the group commit in front of it.
"""

from gateway.spool.intake import Intake, Overloaded
from gateway.spool.letters import EVERY, DeadLetters, LetterFilter
from gateway.spool.open import Engine, forget_spool, make_spool, spool_file, spool_numbers
from gateway.spool.protocol import Spool, SpoolFull, SpoolUnavailable

__all__ = [
    "EVERY",
    "DeadLetters",
    "Engine",
    "Intake",
    "LetterFilter",
    "Overloaded",
    "Spool",
    "SpoolFull",
    "SpoolUnavailable",
    "forget_spool",
    "make_spool",
    "spool_file",
    "spool_numbers",
]
