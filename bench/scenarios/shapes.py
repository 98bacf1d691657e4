"""What events and requests look like: small and large ones, gzip, and the engine behind them."""

from __future__ import annotations

import gzip
from functools import partial

from bench import load
from bench.result import Result, Row
from bench.rig import REFUSING, Form, Rig, bodies, in_turn, rate, requests

SIZE = 100
PADDING = {"0.5 KB": 0, "3 KB": 2500, "30 KB": 29_000}


def run(rig: Rig, form: Form) -> Result:
    """Durable events a second, with nothing uploaded meanwhile."""

    def speed(sent: list[bytes], size: int, engine: str = "sqlite") -> float:
        with rig.gateway(meta=REFUSING, engine=engine) as gateway:
            found: load.Load = rig.run(rate(gateway.server, sent, size, form.seconds))
            return found.events_per_second

    rows = []
    plain = bodies(rig.seed, SIZE, 40)
    usual = requests(plain, SIZE)
    zipped = requests([gzip.compress(body, 6) for body in plain], SIZE, encoding="gzip")
    on_disk, in_memory, unzipped = in_turn(
        form.rounds,
        lambda: speed(usual, SIZE),
        lambda: speed(usual, SIZE, "memory"),
        lambda: speed(zipped, SIZE),
    )
    rows += [
        Row("batches of 100, sqlite", on_disk, "events/s", "the same with memory", in_memory),
        Row("batches of 100, gzip", unzipped, "events/s", "the same without", on_disk),
    ]
    for name, padding in PADDING.items():
        size = SIZE if padding < 10_000 else 10
        sent = requests(bodies(rig.seed, size, 20, padding=padding), size)
        (found,) = in_turn(form.few, partial(speed, sent, size))
        bytes_each = len(sent[0]) / size
        rows.append(Row(f"events of {name}", found, "events/s", note=f"{found * bytes_each / 2**20:,.0f} MiB/s"))
    return Result("shapes of events, durable", rows)
