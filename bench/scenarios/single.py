"""Rate and latency of single events, each acknowledged after its fsync, compared with minimal aiohttp handlers."""

from __future__ import annotations

from bench.harness import CONNECTIONS, MANY_CONNECTIONS, CpuUsage, Harness, Profile, alternate
from bench.pacing import LoadResult
from bench.result import Result, Row, Series, median_row
from bench.workload import encode_requests, request_bodies

DISTINCT_SALES = 20_000
"""So many that caches see customers repeat as often as in the generated sales, not more often."""
DECODES = "aiohttp handler that decodes"
READS = "aiohttp handler that reads"
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def run(harness: Harness, profile: Profile) -> Result:
    """Measure the peak rate as a closed loop, then the latency at half that rate, of gateway and handlers."""
    requests = encode_requests(request_bodies(harness.seed, 1, DISTINCT_SALES), 1)
    generator_cores: list[float] = []
    with harness.gateway(max_age=1.0) as gateway:
        usage = CpuUsage({"gateway": gateway.pid, "sandbox": harness.pid("sandbox")})

        def gateway_rate(connections: int = MANY_CONNECTIONS) -> float:
            with usage:
                load = harness.closed_loop(gateway.server, requests, 1, profile.seconds, connections)
            generator_cores.append(load.generator_cores)
            gateway.wait_until_delivered()  # so that no upload runs while a baseline is measured
            return load.events_per_second

        def handler_rate(name: str, connections: int = MANY_CONNECTIONS) -> float:
            load = harness.closed_loop(harness.baseline(name), requests, 1, profile.seconds, connections)
            return load.events_per_second

        rates, decodes, reads = alternate(
            profile.rounds, gateway_rate, lambda: handler_rate("decode"), lambda: handler_rate("read")
        )
        rates_few, decodes_few = alternate(
            profile.rounds, lambda: gateway_rate(CONNECTIONS), lambda: handler_rate("decode", CONNECTIONS)
        )
        name = f"until durable, {MANY_CONNECTIONS} connections"
        row = median_row(name, rates, "events/s", DECODES, decodes, target="single")
        half = row.value / 2
        gateway_load, handler_load = LoadResult(1), LoadResult(1)
        p99_by_round: list[float] = []
        for _ in range(profile.rounds):
            load = harness.constant_rate(gateway.server, requests, 1, profile.seconds, half)
            p99_by_round.append(load.percentile(0.99) * 1e3)
            gateway_load.latencies.add(load.latencies)
            load = harness.constant_rate(harness.baseline("decode"), requests, 1, profile.seconds, half)
            handler_load.latencies.add(load.latencies)
        gateway.wait_until_delivered()
    accepted = (sum(rates) + sum(rates_few)) * profile.seconds
    note = f"{usage.describe(int(accepted))}; the generator used {max(generator_cores):.2f} of a core"
    return Result(
        "single events",
        [
            row,
            median_row(name, rates, "events/s", READS, reads, note=note),
            median_row(f"until durable, {CONNECTIONS} connections", rates_few, "events/s", DECODES, decodes_few),
            Row("p50 latency", gateway_load.percentile(0.5) * 1e3, "ms", note=_handler_latency(handler_load, 0.5)),
            Row(
                "p99 latency",
                gateway_load.percentile(0.99) * 1e3,
                "ms",
                target="latency",
                note=f"at {half:,.0f} events per second; {_handler_latency(handler_load, 0.99)}",
                lowest=min(p99_by_round),
                highest=max(p99_by_round),
            ),
            Row(
                "p99.9 latency", gateway_load.percentile(0.999) * 1e3, "ms", note=_handler_latency(handler_load, 0.999)
            ),
        ],
        series=[
            Series(
                "latency",
                f"Latency at {half:,.0f} single events per second, half the gateway's peak rate",
                "share of requests",
                "ms",
                {"gateway, until durable": _curve(gateway_load), DECODES: _curve(handler_load)},
                is_quantiles=True,
            )
        ],
    )


def _handler_latency(load: LoadResult, quantile: float) -> str:
    return f"handler: {load.percentile(quantile) * 1e3:.2f} ms"


def _curve(load: LoadResult) -> list[tuple[float, float]]:
    """Return latencies in milliseconds by quantile. Quantiles above 0.9 need at least ten slower requests."""
    count = load.latencies.count
    return [
        (quantile, load.percentile(quantile) * 1e3)
        for quantile in QUANTILES
        if count * (1 - quantile) >= 10 or quantile <= 0.9
    ]
