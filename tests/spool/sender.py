"""A process that appends and acknowledges chunks until it is killed, and prints each call and each success."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.model import ChunkId
from tests.spool.builders import LANE, MIB, chunk, letter, read_all, sqlite

PADDING = b"x" * 20_000


def report(*words: object) -> None:
    """Write one line with one system call, so that a kill leaves only whole lines."""
    os.write(1, b"%s\n" % " ".join(str(word) for word in words).encode())


async def main(folder: Path, first: int) -> None:
    spool = sqlite(folder, max_bytes=16 * MIB)
    await spool.open()
    report("open")
    waiting: list[ChunkId] = [stored.id for stored in await read_all(spool)]
    number = first
    while True:
        chunks = [chunk(b"%d" % number, PADDING), chunk(b"%d" % (number + 1), PADDING)]
        report("appending", number)
        stored = await spool.append(chunks, [])
        report("appended", number)
        waiting += [item.id for item in stored]
        number += 2
        if len(waiting) >= 20:
            batch, waiting = waiting[:10], waiting[10:]
            report("acknowledging", *batch)
            await spool.acknowledge(LANE, batch, [letter(int(chunk_id)) for chunk_id in batch])
            report("acknowledged", *batch)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
