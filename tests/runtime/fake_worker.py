"""A process that speaks the protocol of a worker, and misbehaves as its first argument says.

Arguments: mode, a file in which it notes what it did, and the descriptor of its end of the socket pair.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ACCEPT_BACKLOG = 200
REJECTING = {"received": {"shop": 100}, "rejected": [[["shop", "store", "unmapped_event"], 50]]}
"""The counters of a worker that rejects half of its events."""


def main() -> None:
    mode, notes, descriptor = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    stream = connection.makefile("rwb")
    accepted = 0

    def note(text: str) -> None:
        with notes.open("a") as file:
            file.write(text + "\n")

    def send(message: Any) -> None:
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()

    note(f"pid {os.getpid()}")
    if mode == "exit":
        sys.exit(3)
    for line in stream:
        call = json.loads(line)
        result: Any = None
        match call["method"]:
            case "start":
                (spec,) = call["params"]
                note(f"level {spec['settings']['logging']['level']}")
                if mode == "slow start":
                    time.sleep(0.7)
                for number in spec["listening"]:
                    socket.socket(fileno=number).listen(ACCEPT_BACKLOG)
            case "reload":
                note(f"reloaded level {call['params'][0]['logging']['level']}")
                if mode == "deaf to reloads":
                    continue
            case "stop":
                send({"id": call["id"], "result": None})
                send({"final": {"ledger": REJECTING if mode == "rejecting" else {"received": {"shop": 100}}}})
                return
            case "snapshot" | "counters":
                accepted += 1
                result = {"ledger": {"received": {"shop": accepted}}, "reasons": []}
                if mode == "rejecting":
                    result["ledger"] = REJECTING
                if mode == "wrong type":
                    result = {"ledger": "?"}
            case "readiness":
                result = []
            case "find":
                misbehave(mode, stream)
                result = []
            case _:
                pass
        send({"id": call["id"], "result": result})


def misbehave(mode: str, stream: Any) -> None:
    """Send something else than a reply."""
    if mode == "garbage":
        stream.write(b"\xff\x00garbage\n")
    elif mode == "oversized":
        with suppress(OSError):
            while True:
                stream.write(b"x" * 65536)
        time.sleep(60)


if __name__ == "__main__":
    main()
