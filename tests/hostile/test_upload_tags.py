"""Upload tags that a sender chooses: many of them cost neither memory, nor connections, nor other senders' events."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.environment import EVENT_SET, Environment, sale, until

TAGS = 2000
MAX_LANES = 50
MAX_CONNECTIONS = 8


def test_thousands_of_upload_tags_make_no_more_lanes_and_calls_than_allowed_and_lose_no_event(tmp_path: Path) -> None:
    destination = f"upload.max_connections = {MAX_CONNECTIONS}"
    with Environment(tmp_path, destination=destination) as env:
        path = env.folder / "gateway.toml"
        path.write_text(path.read_text().replace("[spool]", f"[spool]\nmax_lanes = {MAX_LANES}"))
        with env.start() as running:
            env.faults({"delay": 0.2, "event_set": EVENT_SET})
            descriptors = 0
            for start in range(0, TAGS, 100):
                events = [
                    sale(
                        number,
                        properties={"order_id": f"order-{number}", "total": 1, "upload_tag": f"SECRET-TAG-{number}"},
                    )
                    for number in range(start, start + 100)
                ]
                assert env.track(*events)[0] == 200
                descriptors = max(descriptors, sum(1 for _ in Path(f"/proc/{running.process.pid}/fd").iterdir()))
            # Each event goes to two destinations.
            until(lambda: env.ledger()["delivered"] == 2 * TAGS, "everything to be delivered")
            status = env.status()
            assert len(status["lanes"]) == MAX_LANES + 2, "one lane with the default tag for each destination"
            assert sum(status["retagged"].values()) == 2 * TAGS - MAX_LANES
            default = [lane for lane in status["lanes"] if lane["upload_tag"] == "RudderStack"]
            assert {lane["destination"]: lane["delivered"] for lane in default} == status["retagged"]
            assert descriptors < 100
            log = running.log.read_text()
            assert log.count("the limit of 50 lanes in this process (spool.max_lanes) is reached") == 1
            assert "SECRET-TAG" not in log
            running.stop()
