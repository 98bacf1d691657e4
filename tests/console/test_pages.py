"""Every page over HTTP: with events, without, with failures, with hostile texts, its downloads and its actions."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from gateway.console import view
from gateway.console.pages.letters import PAGE_SIZE
from gateway.console.stream import MAX_STREAMS
from gateway.model import Lane, Stage
from gateway.spool import SpoolUnavailable
from gateway.telemetry import LaneCounts, Snapshot
from gateway.telemetry.rejection_rate import RejectionRate
from tests.console.console_port import (
    NOW,
    ConsolePort,
    browser,
    console_port,
    lane_statistics,
    letter,
    rejected,
    snapshot,
    tapped,
    traced,
)
from tests.console.test_access import form_token

PAGES = (
    *(
        "/",
        "/?range=62d",
        "/destinations/store",
        "/quality/store",
        "/problems",
        "/problems/letters",
        "/problems/replay",
    ),
    *("/problems/discard", "/event", "/event?id=1007", "/live", "/playground", "/settings", "/login"),
)
HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[2J" + "ن" * 10_000


async def text_of(client: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with client.get(path) as response:
        assert response.status == status, path
        return await response.text()


def words(html: str) -> str:
    """The text of the page without elements, on one line."""
    main = html.partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)).replace("\N{NO-BREAK SPACE}", " ")


async def test_every_page_is_served_with_events_and_without(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        for path in PAGES:
            await text_of(client, path)
        port.gateway.state = Snapshot(started_at=NOW)
        port.gateway.recorded = {}
        for path in PAGES:
            await text_of(client, path)
        await port.spool.append([], [letter(), rejected(2)])
        port.gateway.traced = [traced()]
        port.gateway.tapped = [tapped()]
        for path in (*PAGES, "/problems/letters/1", "/problems/letters/2"):
            await text_of(client, path)


async def test_without_a_history_pages_say_so_and_show_the_counts_since_the_start(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        port.gateway.history_failure = "the file is damaged"
        page = words(await text_of(client, "/"))
        assert "not available: the file is damaged" in page
        assert "48,211 events reached Meta since the gateway started" in page
        await text_of(client, "/problems")
        await text_of(client, "/destinations/store")


async def test_a_high_rate_of_rejected_events_is_a_warning_of_the_overview(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        assert "of the last five minutes were rejected" not in await text_of(client, "/")
        port.gateway.state.rejection_rates = {"shop": RejectionRate(200, 31, {"no_match_key": 30, "unmapped_event": 1})}
        page = await text_of(client, "/")
        assert "of the last five minutes were rejected (31 of 200), mainly no_match_key (30)" in page


async def test_a_failure_is_a_page_that_says_what_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        port.gateway.failure = SpoolUnavailable("the disk is full")
        assert "the disk is full" in words(await text_of(client, "/", 503))
        port.gateway.failure = RuntimeError("jane@example.com")
        page = words(await text_of(client, "/settings", 500))
        assert "its log has the details" in page
        assert "jane" not in page
    assert "internal error" in caplog.text


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/?range=2h", 400, "`range` must be one of 1h, 6h, 24h, 7d, 62d"),
        ("/?format=xml", 400, "`format` must be csv or json"),
        ("/?format=csv&table=none", 400, "throughput, lag, backlog, datasets"),
        ("/destinations/none", 404, "no destination"),
        ("/quality/none", 404, "no destination"),
        ("/problems/letters/99", 404, "no dead letter 99"),
        ("/problems/letters/x", 404, "no dead letter"),
        ("/problems/letters?after=x", 400, "`after`"),
        ("/problems/letters?since=yesterday", 400, "`since`"),
        ("/problems/letters?stage=none", 400, "`stage`"),
        ("/live?outcome=none", 400, "`outcome`"),
        ("/playground?destination=none", 400, "`destination`"),
        ("/playground?example=none", 400, "`example`"),
    ],
)
async def test_what_is_not_possible_is_explained(tmp_path: Path, path: str, status: int, expected: str) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        assert expected in words(await text_of(client, path, status))


async def test_files_are_served_under_the_name_of_their_content_only(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        page = await text_of(client, "/")
        addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert len(set(addresses)) == 6
        for address in addresses:
            async with client.get(address) as response:
                assert response.status == 200
                assert "immutable" in response.headers["Cache-Control"]
        for address in ("/static/x/console.css", "/static/../console.py", "/static/README.md"):
            async with client.get(address) as response:
                assert response.status == 404, address


async def test_every_table_can_be_downloaded(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        await port.spool.append([], [letter()])
        port.gateway.traced = [traced()]
        links = 0
        for path in (*PAGES, "/problems/letters"):
            page = await text_of(client, path)
            for link in set(re.findall(r'href="([^"]*format=(?:csv|json)[^"]*)"', page)):
                async with client.get(link.replace("&amp;", "&")) as response:
                    assert response.status == 200, link
                    assert response.headers["Content-Disposition"].startswith("attachment")
                    if "format=csv" in link:
                        rows = list(csv.reader(io.StringIO(await response.text())))
                        assert len({len(row) for row in rows}) == 1, link
                    else:
                        assert isinstance(await response.json(), list)
                links += 1
        assert links > 15


async def test_dead_letters_are_found_by_their_order_id_and_paged(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        await port.spool.append([], [letter(number) for number in range(1, PAGE_SIZE + 11)])
        page = await text_of(client, "/problems/letters")
        assert page.count("<tr>") == PAGE_SIZE + 1
        following = re.search(r'rel="next" href="([^"]+)"', page)
        assert following is not None
        assert (await text_of(client, following[1])).count("<tr>") == 11
        found = await text_of(client, "/problems/letters?order_id=1007&message_id=&code=")
        assert found.count("<tr>") == 2
        assert "No dead letter matches" in words(await text_of(client, "/problems/letters?order_id=none"))


async def test_ids_are_hidden_if_the_settings_say_so(tmp_path: Path) -> None:
    async with console_port(tmp_path, console={"show_ids": False}) as port, browser(port) as client:
        await port.spool.append([], [letter(7, message_id="message-4711", order_id="order-4711")])
        port.gateway.tapped = [tapped(order_id="order-4711")]
        for path in ("/problems/letters", "/problems/letters/1", "/event?id=order-4711", "/live"):
            page = await text_of(client, path)
            assert "message-4711" not in page, path
            assert "order-4711" not in words(page), path


async def test_a_replay_is_previewed_and_confirmed(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        await port.spool.append([], [letter(1), letter(2), rejected(3), letter(4, code="other")])
        preview = await text_of(client, "/problems/replay?destination=store")
        assert "3 would be processed again; 1 would stay" in words(preview)
        assert "1 stay, because they are rejected again (no_match_key)" in words(preview)
        assert await port.spool.count_dead_letters() == 4, "a preview changes nothing"
        form = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', preview.partition("/actions/replay")[2])
        )
        assert form.keys() == {"form_token", "destination", "until"}
        async with client.post("/actions/replay", data=form, allow_redirects=False) as response:
            assert response.status == 303
            location = response.headers["Location"]
        page = words(await text_of(client, location))
        assert "3 dead letters were processed again" in page
        assert await port.spool.count_dead_letters() == 1


async def test_a_deletion_is_previewed_and_leaves_what_was_written_later(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        await port.spool.append([], [letter(1), letter(2, at=NOW + 5)])
        preview = await text_of(client, "/problems/discard")
        assert "1 would be deleted, with their events. This cannot be undone." in words(preview)
        form = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', preview.partition("/actions/discard")[2])
        )
        async with client.post("/actions/discard", data=form, allow_redirects=False) as response:
            assert response.status == 303
        assert [found.at for _, found in await port.spool.dead_letters()] == [NOW + 5]


async def test_one_dead_letter_can_be_replayed(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        await port.spool.append([], [letter(1), letter(2), letter(3)])
        page = await text_of(client, "/problems/letters/2")
        link = re.search(r'href="(/problems/replay\?[^"]+)"', page)
        assert link is not None
        assert "1 would be processed again, and none would stay" in words(
            await text_of(client, link[1].replace("&amp;", "&"))
        )


async def test_resuming_probes_the_lanes_of_one_dataset(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        port.gateway.state = snapshot([lane_statistics(blocked="token", last_outcome="meta_190_463")])
        page = await text_of(client, "/")
        assert "No: All uploads are stopped. Events are kept: 60 events are waiting" in words(page)
        form = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.partition("/actions/resume")[2])
        )
        async with client.post("/actions/resume", data=form, allow_redirects=False) as response:
            assert response.headers["Location"] == "/destinations/store?notice=resumed&count=2"
        assert port.gateway.resumed == [("store", "1148872185708962")]
        assert "requested for 2 lanes" in words(await text_of(client, "/destinations/store?notice=resumed&count=2"))


@pytest.mark.parametrize(
    "query", ["notice=hello&count=1", "notice=resumed&count=x", "notice=resumed&count=" + "9" * 99]
)
async def test_a_link_cannot_make_a_page_say_anything(tmp_path: Path, query: str) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        assert 'class="notice"' not in await text_of(client, f"/?{query}")


async def test_the_playground_explains_an_event_and_counts_nothing(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        token = await form_token(client, "/playground")
        traits = '"context":{"traits":{"email":"jane@example.com"}}'
        event = '{"type":"track","event":"Order Completed",' + traits + ',"properties":{"total":5}}'
        form = {"form_token": token, "destination": "store", "event": event}
        async with client.post("/playground", data=form) as response:
            page = await response.text()
        assert "Accepted: Purchase to dataset 1148872185708962." in words(page)
        result = page.partition('id="result"')[2]
        assert "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d" in result, "the hash of the email"
        assert "jane@example.com" not in result
        async with client.post("/playground", data={**form, "show_values": "on"}) as response:
            assert "jane@example.com" in (await response.text()).partition('id="result"')[2]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("{", "not valid JSON: line 1"),
        ("[]", "Rejected: not_an_object"),
        ('{"type":"track","event":"Order Completed"}', "Rejected: no_match_key"),
        ('{"type":"track","event":"X","integrations":{"All":false}}', "Ignored"),
        ('"' + "x" * 40_000 + '"', "larger than"),
        ("[" * 5000, "not valid JSON"),
    ],
)
async def test_the_playground_says_why_there_is_no_upload(tmp_path: Path, event: str, expected: str) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        form = {"form_token": await form_token(client, "/playground"), "event": event}
        async with client.post("/playground", data=form) as response:
            assert response.status == 200
            assert expected in words(await response.text())


async def hostile_port(port: ConsolePort) -> Sequence[str]:
    """Put hostile texts wherever a sender, or Meta, chooses one; the pages that show them."""
    lane = Lane("store", "1148872185708962", HOSTILE)
    port.gateway.state = snapshot([lane_statistics(lane, blocked=HOSTILE, last_outcome=HOSTILE)])
    port.gateway.state.ledger.lanes[lane] = LaneCounts(accepted=60)
    port.gateway.state.ledger.dead["store", Stage.UPLOAD, HOSTILE[:200]] = 3
    port.gateway.state.warnings = {"store": HOSTILE}
    port.gateway.state.reasons = [HOSTILE]
    port.gateway.state.settings_errors = [HOSTILE]
    port.gateway.traced = [traced(order_id=HOSTILE[:200], message_id="1007", meta_trace_id=HOSTILE)]
    port.gateway.tapped = [tapped(event=HOSTILE, order_id=HOSTILE, code=HOSTILE, source=HOSTILE)]
    body = (
        b'{"<script>":{"event":"<script>x</script>"},"event_name":"<script>","list":["%s"]}'
        % HOSTILE.encode().replace(b'"', b"").replace(b"\x1b", b"")
    )
    await port.spool.append(
        [], [letter(code=HOSTILE[:200], message=HOSTILE, message_id=HOSTILE[:200], order_id=HOSTILE[:200], event=body)]
    )
    return (*PAGES, "/problems/letters/1")


async def test_hostile_texts_are_escaped_and_cut(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        for path in await hostile_port(port):
            page = await text_of(client, path)
            assert "<script>" not in page, path
            assert "\x1b" not in page, path
            assert "\u202e" not in page, path
            assert len(page) < 100_000, path


async def test_texts_of_the_viewer_are_made_visible_as_well(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        for path in ("/problems/letters?code=a%1b%E2%80%AEb", "/event?id=a%1b%E2%80%AEb", "/live?event=a%1b%E2%80%AEb"):
            page = await text_of(client, path)
            assert "a\\x1b\\u202eb" in page, path
            assert "\x1b" not in page, path


async def test_a_stream_sends_the_live_part_and_ends_with_the_session(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client, client.get("/?format=stream") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        first = await response.content.readuntil(b"\n\n")
        assert first.startswith(b"data: ")
        assert b"48,211" in first
        assert b"<html" not in first
        assert all(line.startswith(b"data: ") for line in first.strip().split(b"\n"))


async def test_a_stream_whose_page_fails_ends_and_a_new_one_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(view, "SNAPSHOT_SECONDS", 0.0)
    async with console_port(tmp_path) as port, browser(port) as client:
        async with client.get("/problems?format=stream") as response:
            await response.content.readuntil(b"\n\n")
            port.gateway.failure = SpoolUnavailable("the disk is full")
            assert await asyncio.wait_for(response.content.read(), 10) == b"", "the stream ends without another part"
        assert "the disk is full" in words(await text_of(client, "/problems?format=stream", 503))
    assert "SpoolUnavailable" in caplog.text


async def test_only_pages_with_a_live_part_have_a_stream(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        for path in ("/settings", "/problems/replay", "/event"):
            await text_of(client, f"{path}?format=stream", 400)


async def test_the_number_of_streams_is_limited(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(port.url, connector=connector) as client:
            streams = [await client.get("/problems?format=stream") for _ in range(MAX_STREAMS)]
            assert {stream.status for stream in streams} == {200}
            async with client.get("/problems?format=stream") as refused:
                assert refused.status == 503
            assert "What was refused" in await text_of(client, "/problems"), "pages are still served"
            for stream in streams:
                stream.close()


async def test_the_live_page_shows_events_as_they_pass(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        port.gateway.tapped = [tapped(order_id="1234"), tapped(source="other", order_id="9999")]
        async with client.get("/live?format=stream&source=shop") as response:
            first = (await response.content.readuntil(b"\n\n")).decode()
        assert "1234" in first
        assert "9999" not in first
        assert "ab12cd" in first


async def test_the_overview_of_a_thousand_lanes_is_small_and_fast(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        lanes = [Lane("store", str(10**14 + number), f"tag {number}") for number in range(1000)]
        port.gateway.state = snapshot([lane_statistics(lane) for lane in lanes])
        for lane in lanes:
            port.gateway.state.ledger.lanes[lane] = LaneCounts(accepted=100, delivered=40)
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            page = await text_of(client, "/")
            seconds.append(time.perf_counter() - began)
            assert len(page) < 100_000
        assert min(seconds) < 0.2
        assert len(await text_of(client, "/destinations/store")) < 150_000


async def test_a_hundred_thousand_dead_letters_are_searched_and_previewed_in_parts(tmp_path: Path) -> None:
    async with console_port(tmp_path, spool={"engine": "sqlite", "path": str(tmp_path / "spool")}) as port:
        for start in range(0, 100_000, 20_000):
            await port.spool.append([], [letter(number, at=NOW - 60) for number in range(start, start + 20_000)])
        async with browser(port) as client:
            began = time.perf_counter()
            assert (await text_of(client, "/problems/letters?after=99000")).count("<tr>") == PAGE_SIZE + 1
            assert time.perf_counter() - began < 1.0
            preview = words(await text_of(client, "/problems/replay?code=meta_100_2804050"))
    assert "5,000 would be processed again, and none would stay. These are the first 5,000; more match." in preview
