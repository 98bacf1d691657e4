"""Single events, each acknowledged after its fsync, beside aiohttp handlers that do nothing; and how long they take."""

from __future__ import annotations

from bench.harness import CONNECTIONS, MANY, Harness, Profile, Shares, in_turn
from bench.pacing import Load
from bench.result import Result, Row, Series, measured
from bench.workload import bodies, requests

CALLS = 20_000
"""Distinct sales, so that caches see customers come back as sales have it, not because the ring is short."""
DECODES = "aiohttp handler that decodes"
SHARES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def run(harness: Harness, profile: Profile) -> Result:
    """Closed loop for the rate; then an even rate of half of it for the latency, of the floor as well."""
    sent = requests(bodies(harness.seed, 1, CALLS), 1)
    used: list[float] = []
    with harness.gateway(max_age=1.0) as gateway:
        shares = Shares({"gateway": gateway.pid, "stand-in": harness.pid("meta")})

        def ours(connections: int = MANY) -> float:
            with shares:
                found = harness.closed(gateway.server, sent, 1, profile.seconds, connections)
            used.append(found.generator_share)
            gateway.drained()  # so that no upload runs beside the floors
            return found.events_per_second

        def floor(name: str, connections: int = MANY) -> float:
            return harness.closed(harness.floor(name), sent, 1, profile.seconds, connections).events_per_second

        rates, decodes, reads = in_turn(profile.rounds, ours, lambda: floor("decode"), lambda: floor("read"))
        few, decodes_of_few = in_turn(profile.rounds, lambda: ours(CONNECTIONS), lambda: floor("decode", CONNECTIONS))
        row = measured(f"durable, {MANY} connections", rates, "events/s", DECODES, decodes, bar="single")
        half = row.value / 2
        steady, bare = Load(1), Load(1)
        quantiles: list[float] = []
        for _ in range(profile.rounds):
            found = harness.evenly(gateway.server, sent, 1, profile.seconds, half)
            quantiles.append(found.percentile(0.99) * 1e3)
            steady.latencies.add(found.latencies)
            bare.latencies.add(harness.evenly(harness.floor("decode"), sent, 1, profile.seconds, half).latencies)
        gateway.drained()
    accepted = (sum(rates) + sum(few)) * profile.seconds
    note = f"{shares.told(int(accepted))}; the generator used {max(used):.2f} of a core"
    at_rate = f"at {half:,.0f} events a second; the handler's: {bare.percentile(0.99) * 1e3:.2f} ms"
    return Result(
        "single events, durable",
        [
            row,
            measured(f"durable, {MANY} connections", rates, "events/s", "aiohttp handler that reads", reads, note=note),
            measured(f"durable, {CONNECTIONS} connections", few, "events/s", DECODES, decodes_of_few),
            Row("p50", steady.percentile(0.5) * 1e3, "ms", note=f"the handler's: {bare.percentile(0.5) * 1e3:.2f} ms"),
            Row(
                "p99",
                steady.percentile(0.99) * 1e3,
                "ms",
                bar="latency",
                note=at_rate,
                lowest=min(quantiles),
                highest=max(quantiles),
            ),
            Row(
                "p99.9",
                steady.percentile(0.999) * 1e3,
                "ms",
                note=f"the handler's: {bare.percentile(0.999) * 1e3:.2f} ms",
            ),
        ],
        series=[
            Series(
                "latency",
                f"Latency at {half:,.0f} single events a second, half the gateway's peak",
                "share of requests",
                "ms",
                {"gateway, durable": _curve(steady), "handler that decodes": _curve(bare)},
                is_quantiles=True,
            )
        ],
    )


def _curve(load: Load) -> list[tuple[float, float]]:
    """As far as there are ten requests beyond."""
    count = load.latencies.count
    return [(share, load.percentile(share) * 1e3) for share in SHARES if count * (1 - share) >= 10 or share <= 0.9]
