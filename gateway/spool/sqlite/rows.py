"""Converts chunks and dead letters to rows and back. A row has a checksum, so that corruption by the disk is detected.

This module does not use a database: recovery, which reads pages directly, shares it with normal operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from zlib import crc32

import orjson

from gateway.config.settings import MAX_EVENTS
from gateway.identifiers import NO_IDS, ids_of_mapped
from gateway.model import EVENT_SEPARATOR, Chunk, ChunkId, DeadLetter, Lane, MetaFault, Stage, StoredChunk
from gateway.spool.size_accounting import dead_letter_size
from gateway.spool.sqlite.schema import ID_BITS

CORRUPT: Final = "spool_corrupt"
"""Code of the dead letters that replace a damaged chunk."""

MAX_CHUNK_EVENTS: Final = max(MAX_EVENTS.values())
"""Events of the largest chunk: a chunk is not larger than a batch."""

_ID_MASK: Final = (1 << ID_BITS) - 1

ChunkRow: TypeAlias = tuple[int, int, int, float, int, bytes, bytes]
"""key, count, expires_at, stored_at, checksum, lane, payload."""

LetterRow: TypeAlias = tuple[float, bytes, bytes, bytes, int, bytes, int, bytes | None, bytes | None, bytes | None]
"""at, stage, code, destination, size, about, checksum, message_id, order_id, event."""


_STAGES: Final = {stage.value.encode(): stage for stage in Stage}


class DamagedRow(Exception):
    """A row differs from what was written."""


def key_of(lane: int, number: int) -> int:
    """Return the key of a chunk's row: the lane's number and the chunk's ID in one integer."""
    return lane << ID_BITS | number


def lane_number(key: int) -> int:
    """Return the lane's number from a key."""
    return key >> ID_BITS


def id_of(key: int) -> ChunkId:
    """Return the chunk's ID from a key."""
    return ChunkId(key & _ID_MASK)


def lane_text(lane: Lane) -> bytes:
    """Return a lane as it is encoded in its chunks' rows: a JSON array.

    It is kept for each lane, and a result of orjson keeps a buffer of at least a kilobyte; a copy does not.
    """
    return bytes(memoryview(orjson.dumps(list(lane))))


def chunk_row(key: int, chunk: Chunk, stored_at: float, lane: bytes) -> ChunkRow:
    """Return the row of a chunk."""
    row = key, chunk.count, chunk.expires_at, stored_at, 0, lane, chunk.payload
    return *row[:4], _chunk_checksum(row), lane, chunk.payload


def stored_chunk(row: Sequence[Any], lane: Lane | None = None) -> StoredChunk:
    """Return the chunk of a row. `lane`, if given, saves decoding the row's. Raises `DamagedRow`."""
    key, count, expires_at, stored_at, checksum, text, payload = row
    try:
        if _chunk_checksum(row) != checksum:
            raise DamagedRow("the checksum differs")
        return StoredChunk(id_of(key), Chunk(lane or Lane(*orjson.loads(text)), count, expires_at, payload), stored_at)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedRow("the row is not a chunk") from error


def lane_of(row: Sequence[Any]) -> Lane:
    """Return the lane in a chunk's row. Raises `DamagedRow`."""
    try:
        return Lane(*orjson.loads(row[5]))
    except (TypeError, ValueError) as error:
        raise DamagedRow("the row names no lane") from error


def letters_of_damaged(row: Sequence[Any], lane: Lane, now: float) -> list[DeadLetter]:
    """Return the dead letters that replace a damaged chunk: one for each event, with the event if it is valid JSON.

    The checksum covers the whole chunk and does not show which event was altered, so none of them is delivered.
    """
    count, payload = row[1], row[6]
    lines = payload.split(EVENT_SEPARATOR, MAX_CHUNK_EVENTS) if isinstance(payload, bytes) else []
    if not isinstance(count, int) or not 0 < count <= MAX_CHUNK_EVENTS:
        count = max(1, len(lines))  # the count is damaged itself
    events = [_valid_json(lines[index]) if index < len(lines) else None for index in range(count)]
    return [
        DeadLetter(
            stage=Stage.UPLOAD,
            code=CORRUPT,
            message="The disk altered the stored batch that held this event. Check the event before you replay it.",
            destination=lane.destination,
            source=None,
            lane=lane,
            at=now,
            attempts=0,
            fault=None,
            event=event,
            **(ids_of_mapped(event) if event is not None else NO_IDS)._asdict(),
        )
        for event in events
    ]


def letter_row(letter: DeadLetter) -> LetterRow:
    """Return the row of a dead letter."""
    fault = letter.fault
    about = orjson.dumps(
        [
            letter.message,
            letter.source,
            list(letter.lane) if letter.lane else None,
            letter.attempts,
            [fault.code, fault.subcode, fault.trace_id] if fault else None,
        ]
    )
    stage, code, destination = letter.stage.value.encode(), letter.code.encode(), letter.destination.encode()
    ids = _blob(letter.message_id), _blob(letter.order_id)
    row = letter.at, stage, code, destination, dead_letter_size(letter), about, 0, *ids, letter.event
    return (*row[:6], _letter_checksum(row), *ids, letter.event)


def dead_letter(row: Sequence[Any]) -> DeadLetter:
    """Return the dead letter of a row. Raises `DamagedRow`."""
    at, stage, code, destination, _, about, checksum, message_id, order_id, event = row
    try:
        if _letter_checksum(row) != checksum:
            raise DamagedRow("the checksum differs")
        message, source, lane, attempts, fault = orjson.loads(about)
        return DeadLetter(
            stage=Stage(stage.decode()),
            code=code.decode(),
            message=message,
            destination=destination.decode(),
            source=source,
            lane=Lane(*lane) if lane else None,
            at=at,
            attempts=attempts,
            fault=MetaFault(*fault) if fault else None,
            event=event,
            message_id=_text(message_id),
            order_id=_text(order_id),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedRow("the row is not a dead letter") from error


def dead_letter_or_placeholder(row: Sequence[Any]) -> DeadLetter:
    """Return the dead letter of a row or, when the row is damaged, a placeholder with the fields that are readable."""
    try:
        return dead_letter(row)
    except DamagedRow:
        return DeadLetter(
            stage=_STAGES.get(row[1], Stage.UPLOAD),
            code=CORRUPT,
            message="The disk altered this dead letter, and its event is lost. Discard it.",
            destination=row[3].decode(errors="replace"),
            source=None,
            lane=None,
            at=float(row[0]),
            attempts=0,
            fault=None,
            event=None,
        )


def _chunk_checksum(row: Sequence[Any]) -> int:
    key, count, expires_at, stored_at, _, lane, payload = row
    return crc32(payload, crc32(b"%d %d %d %r " % (key, count, expires_at, float(stored_at)) + lane))


def _letter_checksum(row: Sequence[Any]) -> int:
    at, stage, code, destination, size, about, _, message_id, order_id, event = row
    texts = stage, code, destination, about, message_id or b"", order_id or b""
    fields = b"%r %d " % (float(at), size) + b" ".join(texts)
    return crc32(event or b"", crc32(fields))


def _blob(text: str | None) -> bytes | None:
    return text.encode() if text is not None else None


def _text(blob: bytes | None) -> str | None:
    return blob.decode() if blob is not None else None


def _valid_json(line: bytes) -> bytes | None:
    try:
        orjson.loads(line)
    except ValueError:
        return None
    return line
