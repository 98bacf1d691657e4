"""A process that appends and settles until it is killed, and says on standard output what was acknowledged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.model import ChunkId
from tests.spool.builders import LANE, MIB, chunk, everything, letter, sqlite

FILLING = b"x" * 20_000


def say(*words: object) -> None:
    """One write, so that a kill leaves whole lines."""
    os.write(1, b"%s\n" % " ".join(str(word) for word in words).encode())


async def main(folder: Path, first: int) -> None:
    spool = sqlite(folder, max_bytes=16 * MIB)
    await spool.open()
    say("open")
    waiting: list[ChunkId] = [stored.id for stored in await everything(spool)]
    number = first
    while True:
        call = [chunk(b"%d" % number, FILLING), chunk(b"%d" % (number + 1), FILLING)]
        say("appending", number)
        stored = await spool.append(call, [])
        say("appended", number)
        waiting += [one.id for one in stored]
        number += 2
        if len(waiting) >= 20:
            batch, waiting = waiting[:10], waiting[10:]
            say("settling", *batch)
            await spool.acknowledge(LANE, batch, [letter(int(one)) for one in batch])
            say("settled", *batch)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
