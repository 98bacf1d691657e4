"""The schema of the database, and the pragmas that make it durable.

A chunk's key holds its lane and its ID in one integer, so that a lane's chunks are adjacent, in the order of their IDs,
without an index: one B-tree less to write at each commit.
"""

from __future__ import annotations

from typing import Final

import apsw

from gateway.spool.protocol import SpoolUnavailable

VERSION: Final = 2
APPLICATION_ID: Final = 0x4F434757
"""`OCGW`: identifies the file as a spool, to this program and to `file(1)`."""

PAGE_SIZE: Final = 4096
"""Bytes. With many lanes each chunk is on its own page: with pages of 8 KiB, a commit of 256 lanes took twice the time.
With one lane no difference was measured."""

ID_BITS: Final = 44
"""Bits of a key for the chunk's ID; the 19 bits above hold the lane's number."""
MAX_LANES: Final = 2**19 - 2
"""The highest number of a lane. The next one must fit into a key as well: it is the end of the lane's range of keys."""

SCHEMA: Final = """
CREATE TABLE lane(
    number INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    event_set TEXT NOT NULL,
    upload_tag TEXT NOT NULL,
    events INTEGER NOT NULL,      -- waiting; kept by TOTALS_TRIGGERS, so that a start need not count rows
    bytes INTEGER NOT NULL,       -- of their payloads
    last_id INTEGER NOT NULL      -- the highest ever assigned in this lane: IDs are not reused
) STRICT;
CREATE TABLE chunk(
    key INTEGER PRIMARY KEY,      -- lane.number << 44 | id
    count INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    stored_at REAL NOT NULL,
    checksum INTEGER NOT NULL,    -- CRC-32 of all other columns
    lane BLOB NOT NULL,           -- JSON; a chunk stays usable when the table of lanes is lost
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE dead_letter(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    stage BLOB NOT NULL,          -- text, stored as blobs: altered bytes may not be valid UTF-8
    code BLOB NOT NULL,
    destination BLOB NOT NULL,
    size INTEGER NOT NULL,
    about BLOB NOT NULL,          -- JSON: message, source, lane, attempts, Meta's codes and trace ID
    checksum INTEGER NOT NULL,    -- CRC-32 of all other columns
    message_id BLOB,
    order_id BLOB,
    event BLOB
) STRICT;
CREATE INDEX dead_letter_without_event ON dead_letter(number) WHERE event IS NULL;  -- purged first
CREATE TABLE dead_letter_total(
    letters INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO dead_letter_total VALUES (0, 0);
CREATE VIEW waiting AS            -- for inspection with the sqlite3 shell
    SELECT key & 0xfffffffffff AS id, CAST(lane AS TEXT) AS lane, count, length(payload) AS bytes,
           datetime(stored_at, 'unixepoch') AS stored, datetime(expires_at, 'unixepoch') AS expires
    FROM chunk ORDER BY id;
"""

_SCHEMA_OBJECTS: Final = SCHEMA.count("CREATE ")

TOTALS_TRIGGERS: Final = """
CREATE TEMP TRIGGER chunk_inserted AFTER INSERT ON main.chunk BEGIN
    UPDATE lane SET events = events + NEW.count, bytes = bytes + length(NEW.payload),
                    last_id = max(last_id, NEW.key & 0xfffffffffff) WHERE number = NEW.key >> 44;
END;
CREATE TEMP TRIGGER chunk_deleted AFTER DELETE ON main.chunk BEGIN
    UPDATE lane SET events = events - OLD.count, bytes = bytes - length(OLD.payload) WHERE number = OLD.key >> 44;
END;
"""
"""Update the totals of a lane in the statement that changes its chunks. Stored in the connection, not in the file."""

EXCLUSIVE_LOCK: Final = "PRAGMA locking_mode = EXCLUSIVE"
"""Excludes other connections. The WAL index is then in this process's memory, and an older SQLite, which may race with
checkpoints, cannot open the file."""

FILE_FORMAT: Final = (f"PRAGMA page_size = {PAGE_SIZE}", "PRAGMA auto_vacuum = INCREMENTAL")
"""For an empty file: they have no effect later, or would cause a write at each start."""

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
    """Set the pragmas of a connection, and create the tables in an empty database.

    Raises `SpoolUnavailable` when the database has another format version or page size, or belongs to another program,
    and `apsw.CorruptError` when tables are missing.
    """
    connection.execute(EXCLUSIVE_LOCK).fetchall()
    for pragma in (*(() if connection.pragma("page_count") else FILE_FORMAT), *PRAGMAS):
        connection.execute(pragma).fetchall()
    version, application = connection.pragma("user_version"), connection.pragma("application_id")
    objects = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if not objects and version == 0:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        return
    if application != APPLICATION_ID:
        raise SpoolUnavailable(
            f"{connection.filename} is a database of another program; set spool.path to a directory that only the "
            "gateway uses"
        )
    if version == VERSION and objects < _SCHEMA_OBJECTS:
        raise apsw.CorruptError("tables are missing")
    if version != VERSION:
        raise SpoolUnavailable(
            f"{connection.filename} has format {version} and this gateway uses format {VERSION}; drain the spool with "
            "the gateway version that wrote it"
        )
    if (size := connection.pragma("page_size")) != PAGE_SIZE:
        raise SpoolUnavailable(
            f"{connection.filename} has pages of {size} bytes and this gateway uses pages of {PAGE_SIZE}; drain the "
            "spool with the gateway version that wrote it"
        )
