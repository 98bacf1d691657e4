"""The console in Chromium: accessibility, scripts and the content policy, widths, and what works without scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.console.chromium import chromium, executable, open_page
from tests.console.console_port import (
    ADMIN,
    ConsolePort,
    console_port,
    lane_statistics,
    letter,
    rejected,
    snapshot,
    tapped,
    traced,
)
from tests.console.test_pages import hostile_port

PAGES = (
    *("/", "/destinations/store", "/problems", "/problems/letters", "/problems/letters/1", "/problems/replay"),
    *("/event?id=1007", "/event?id=none", "/live", "/playground", "/settings", "/login", "/destinations/none"),
)


@pytest_asyncio.fixture(loop_scope="module", scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


async def fill(port: ConsolePort) -> None:
    """Put something on every page."""
    await port.spool.append([], [letter(number) for number in range(1, 9)] + [rejected(9)])
    port.gateway.traced = [traced()]
    port.gateway.tapped = [tapped(order_id=str(number)) for number in range(5)]


async def test_a_missing_browser_is_an_error_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="apt-get install -y chromium"):
        executable()


async def serious(page: Page, *rules: str) -> list[tuple[str, str]]:
    """The serious findings of axe: the rule, and the first element. `rules`: only these."""
    results = await Axe().run(page, options={"runOnly": list(rules)} if rules else None)
    return [
        (finding["id"], finding["nodes"][0]["html"][:200])
        for finding in results.response["violations"]
        if finding["impact"] in {"serious", "critical"}
    ]


async def test_no_page_has_a_serious_finding_of_axe_or_an_error(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser, color_scheme="light") as (page, errors):
        await fill(port)
        for path in PAGES:
            response = await page.goto(port.url + path)
            assert response is not None
            if path.startswith("/destinations/store"):
                await page.wait_for_selector("#quality-scores table")
            assert await serious(page) == [], path
            await page.emulate_media(color_scheme="dark")
            assert await serious(page, "color-contrast") == [], path
            await page.emulate_media(color_scheme="light")
            expected = {"Failed to load resource: the server responded with a status of 404 (Not Found)"}
            assert set(errors) <= (expected if response.status == 404 else set()), path
            errors.clear()


async def test_a_stopped_destination_has_no_serious_finding(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, errors):
        port.gateway.state = snapshot([lane_statistics(blocked="token", last_outcome="meta_190_463")])
        await page.goto(port.url)
        assert await serious(page) == []
        assert errors == []


async def test_no_page_is_wider_than_the_window(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, _):
        await fill(port)
        for path in PAGES:
            await page.goto(port.url + path)
            for width in (2560, 1024, 320):
                await page.set_viewport_size({"width": width, "height": 800})
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_hostile_texts_run_no_script_and_do_not_widen_a_page(browser: Browser, tmp_path: Path) -> None:
    async with (
        console_port(tmp_path) as port,
        open_page(browser, viewport={"width": 400, "height": 800}) as (page, errors),
    ):
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        for path in await hostile_port(port):
            await page.goto(port.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 400, path
        assert dialogs == []
        assert errors == []


async def test_a_page_changes_while_it_is_looked_at_and_can_be_paused(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, errors):
        await page.goto(port.url)
        await expect(page.locator("[data-live-text]")).to_have_text("Live")
        await expect(page.locator(".plot .uplot")).to_have_count(3)
        port.gateway.state = snapshot([lane_statistics(blocked="token", last_outcome="meta_190_463")])
        await expect(page.locator(".answer")).to_contain_text("stopped", timeout=10_000)
        await expect(page.locator(".plot .uplot")).to_have_count(3)
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator("[data-live-text]")).to_have_text("Paused")
        assert errors == []


async def test_the_live_page_follows_the_events(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, errors):
        await page.goto(port.url + "/live")
        await expect(page.locator("[data-live-text]")).to_have_text("Live")
        port.gateway.tapped = [tapped(order_id="4711")]
        await expect(page.locator("table.feed")).to_contain_text("4711")
        assert errors == []


async def test_the_playground_explains_while_one_types(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, errors):
        await page.goto(port.url + "/playground")
        await expect(page.locator("#result .answer")).to_contain_text("Accepted: Purchase")
        await page.get_by_label("as JSON").fill('{"type": "track", "event": "Order Completed"}')
        await expect(page.locator("#result .answer")).to_contain_text("Rejected: no_match_key")
        assert page.url.endswith("/playground")
        assert errors == []


async def test_a_selection_is_replayed_with_the_keyboard_and_without_scripts(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser, java_script_enabled=False) as (page, _):
        await fill(port)
        await page.goto(port.url + "/problems/letters?code=meta_100_2804050")
        await page.get_by_role("link", name="Replay these").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".answer")).to_contain_text("8 would be processed again")
        await page.get_by_role("button", name="Replay 8").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("8 dead letters were processed again")
        assert await port.spool.count_dead_letters() == 1


async def test_without_scripts_every_page_shows_the_same(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser, java_script_enabled=False) as (page, _):
        await fill(port)
        await page.goto(port.url)
        await expect(page.locator(".plot .canvas > svg")).to_have_count(3)
        await expect(page.locator(".live")).to_be_hidden()
        await page.goto(port.url + "/playground")
        await page.get_by_label("as JSON").fill('{"type": "track"}')
        await page.get_by_role("button", name="Explain").click()
        await expect(page.locator("#result .answer")).to_contain_text("Rejected: missing_event_name")
        await page.goto(port.url + "/destinations/store")
        await page.get_by_role("link", name="show Meta's scores").click()
        await expect(page.locator("#quality-scores")).to_contain_text("Send more phone numbers.")


async def test_one_signs_in_and_out(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path, admin={"token": ADMIN}) as port, open_page(browser) as (page, _):
        await page.goto(port.url + "/problems?range=1h")
        await page.get_by_label("Token").fill(ADMIN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("What was refused, and why?")
        assert page.url == port.url + "/problems?range=1h"
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_a_page_with_its_scripts_is_less_than_a_hundred_kilobytes(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, _):
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        received: dict[str, float] = {}
        session.on(
            "Network.loadingFinished", lambda event: received.update({event["requestId"]: event["encodedDataLength"]})
        )
        await page.goto(port.url, wait_until="load")
        await expect(page.locator(".plot .uplot")).to_have_count(3)
        assert 30_000 < sum(received.values()) < 100_000, "with the values of three plots"


async def test_nothing_moves_when_the_plots_are_drawn(browser: Browser, tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, open_page(browser) as (page, _):
        await page.add_init_script(
            "window.shift = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
            " window.shift += entry.value; }).observe({ type: 'layout-shift', buffered: true });"
        )
        await page.goto(port.url)
        await expect(page.locator(".plot .uplot")).to_have_count(3)
        assert await page.evaluate("window.shift") < 0.02
