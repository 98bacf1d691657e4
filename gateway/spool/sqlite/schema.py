"""The database's form, and the pragmas that make it durable. Everything that is SQL about its shape is here.

A chunk's key holds its lane and its ID in one integer, so that a lane's chunks lie side by side in the order of their
IDs without an index: one tree less to write at each commit.
"""

from __future__ import annotations

from typing import Final

import apsw

from gateway.spool.protocol import SpoolUnavailable

VERSION: Final = 2
APPLICATION_ID: Final = 0x4F434757
"""`OCGW`: tells `file` and us whose database it is."""

PAGE_SIZE: Final = 4096
"""Bytes. With many lanes each chunk is on a page of its own: 8 KiB cost a commit of 256 lanes twice the time. With one
lane no difference was found."""

ID_BITS: Final = 44
"""Of a key, for the chunk's ID; the 19 above are the lane's number."""

SCHEMA: Final = """
CREATE TABLE lane(
    number INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    event_set TEXT NOT NULL,
    upload_tag TEXT NOT NULL,
    events INTEGER NOT NULL,      -- that wait; kept with the chunks (COUNTING), so that a start counts nothing
    bytes INTEGER NOT NULL,       -- of their payloads
    last_id INTEGER NOT NULL      -- the highest that was ever given here: IDs grow although chunks leave
) STRICT;
CREATE TABLE chunk(
    key INTEGER PRIMARY KEY,      -- lane.number << 44 | id
    count INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    stored_at REAL NOT NULL,
    checksum INTEGER NOT NULL,    -- CRC-32 of all the rest
    lane BLOB NOT NULL,           -- JSON: a chunk that outlives the table of the lanes still knows its own
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE dead_letter(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    stage BLOB NOT NULL,          -- blobs, though text: what the disk altered may be no text any more
    code BLOB NOT NULL,
    destination BLOB NOT NULL,
    size INTEGER NOT NULL,
    about BLOB NOT NULL,          -- JSON: message, source, lane, attempts, Meta's codes and trace
    checksum INTEGER NOT NULL,    -- CRC-32 of all the rest
    event BLOB
) STRICT;
CREATE TABLE dead_letter_total(
    letters INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO dead_letter_total VALUES (0, 0);
CREATE VIEW waiting AS            -- for people with a database shell
    SELECT key & 0xfffffffffff AS id, CAST(lane AS TEXT) AS lane, count, length(payload) AS bytes,
           datetime(stored_at, 'unixepoch') AS stored, datetime(expires_at, 'unixepoch') AS expires
    FROM chunk ORDER BY id;
"""

_TABLES: Final = SCHEMA.count("CREATE ")

TOTALS_TRIGGERS: Final = """
CREATE TEMP TRIGGER chunk_came AFTER INSERT ON main.chunk BEGIN
    UPDATE lane SET events = events + NEW.count, bytes = bytes + length(NEW.payload),
                    last_id = max(last_id, NEW.key & 0xfffffffffff) WHERE number = NEW.key >> 44;
END;
CREATE TEMP TRIGGER chunk_went AFTER DELETE ON main.chunk BEGIN
    UPDATE lane SET events = events - OLD.count, bytes = bytes - length(OLD.payload) WHERE number = OLD.key >> 44;
END;
"""
"""Keeps the totals of lanes in the step that changes their chunks. Of the connection, not of the file."""

EXCLUSIVE_LOCK: Final = "PRAGMA locking_mode = EXCLUSIVE"
"""Nobody else reads or writes while we do: the WAL's index then lives in our memory, and an older SQLite that races
with our checkpoints cannot come near."""

FILE_FORMAT: Final = (f"PRAGMA page_size = {PAGE_SIZE}", "PRAGMA auto_vacuum = INCREMENTAL")
"""For a file without a page: later they would be too late, or a write at each start."""

PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8192",
)


def prepare(connection: apsw.Connection) -> None:
    """Make a connection durable and the database's form ours.

    Raises `SpoolUnavailable` when the database is of a newer version or another program's.
    """
    connection.execute(EXCLUSIVE_LOCK).fetchall()
    for pragma in (*(() if connection.pragma("page_count") else FILE_FORMAT), *PRAGMAS):
        connection.execute(pragma).fetchall()
    version, application = connection.pragma("user_version"), connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if not tables and version == 0:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        return
    if application != APPLICATION_ID:
        raise SpoolUnavailable(
            f"{connection.filename} is a database of another program; spool.path has to be a folder of its own"
        )
    if version == VERSION and tables < _TABLES:
        raise apsw.CorruptError("its tables are missing")
    if version != VERSION:
        raise SpoolUnavailable(
            f"{connection.filename} has format {version} and this gateway writes format {VERSION}: start the version "
            "that wrote it and let it drain the spool first"
        )
    if (size := connection.pragma("page_size")) != PAGE_SIZE:
        raise SpoolUnavailable(
            f"{connection.filename} has pages of {size} bytes, and this gateway writes pages of {PAGE_SIZE}: let the "
            "version that wrote it drain the spool first"
        )
