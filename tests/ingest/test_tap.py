"""The live view sees requests that were answered with success, and only while somebody looks."""

from gateway.spool import SpoolFull
from gateway.tap import Tap, TapOutcome
from tests.hostile.requests import batch, sale
from tests.ingest.harness import running


async def test_the_events_of_a_request_are_seen_after_they_are_durable() -> None:
    tap = Tap()
    async with running(tap=tap) as server:
        page = tap.poll("")
        server.committer.release.clear()
        client = await server.connect()
        await client.send(server.target.post(batch(sale(1), sale(2) | {"event": "unmapped"}, {"type": "page"})))
        await server.until(lambda: server.committer.waiting == 1)
        assert tap.poll(page.cursor).entries == []
        server.committer.release.set()
        assert (await client.response()).status == 200
        entries = tap.poll(page.cursor).entries
    assert [entry.outcome for entry in entries] == [TapOutcome.ACCEPTED, TapOutcome.REJECTED, TapOutcome.IGNORED]
    assert [entry.source for entry in entries] == ["shop"] * 3


async def test_a_request_that_was_not_stored_is_not_seen() -> None:
    tap = Tap()
    async with running(tap=tap) as server:
        page = tap.poll("")
        server.committer.error = SpoolFull("full")
        assert (await server.exchange(server.target.post(batch(sale(1))))).status == 503
        page = tap.poll(page.cursor)
    assert (page.entries, page.skipped) == ([], 0)


async def test_nothing_is_described_while_nobody_looks() -> None:
    tap = Tap()
    async with running(tap=tap) as server:
        assert (await server.exchange(server.target.post(batch(sale(1))))).status == 200
        page = tap.poll("")
    assert (page.entries, page.skipped) == ([], 0)
