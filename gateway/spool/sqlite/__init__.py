"""The spool in one SQLite file: durable at every return, whole after every crash, able to empty when it is full.

One thread holds the one connection (`writer`); `keeper` keeps that connection well; `store` has the transactions;
`rescue` reads what a damaged file still holds. Only this folder knows the database.
"""

from gateway.spool.sqlite.engine import SqliteSpool
from gateway.spool.sqlite.rescue import Rescued
from gateway.spool.sqlite.verify import Verified, backlogs, rescue_file, verify

__all__ = ["Rescued", "SqliteSpool", "Verified", "backlogs", "rescue_file", "verify"]
