"""The spool in one SQLite file: durable when a call returns, consistent after a crash, able to drain when it is full.

`database_thread` runs every call on one thread; `connection_manager` opens, replaces and closes the one connection;
`store` has the transactions; `recovery` reads the intact rows of a damaged file. Only this package uses apsw.
"""

from gateway.spool.sqlite.engine import SqliteSpool
from gateway.spool.sqlite.recovery import RecoveryResult, VerifyResult, backlogs, recover_file, verify

__all__ = ["RecoveryResult", "SqliteSpool", "VerifyResult", "backlogs", "recover_file", "verify"]
