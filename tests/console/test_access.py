"""Who may see and do what: signing in, cookies, forms, the read token, the audit log, and the headers of every page."""

from __future__ import annotations

import logging
import re
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest

from gateway.console.responses import COOKIE
from tests.admin.admin_port import admin_port
from tests.console.console_port import ADMIN, READ, browser, console_port, letter

TOKENS = {"admin": {"token": ADMIN, "read_token": READ}}


async def form_token(client: aiohttp.ClientSession, path: str) -> str:
    async with client.get(path) as response:
        match = re.search(r'name="form_token" value="([0-9a-f]{64})"', await response.text())
    assert match is not None, path
    return match[1]


async def sign_in(client: aiohttp.ClientSession, token: str, target: str = "/") -> aiohttp.ClientResponse:
    form = {"form_token": await form_token(client, "/login"), "token": token}
    return await client.post(f"/login?next={target}", data=form, allow_redirects=False)


async def test_without_a_token_pages_are_open_and_forms_are_protected(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        async with client.get("/") as response:
            assert response.status == 200
        async with client.post("/actions/resume", data={"destination": "store"}) as refused:
            assert refused.status == 400
            assert "not made for this browser" in await refused.text()
        assert port.gateway.resumed == []


async def test_a_page_asks_to_sign_in_and_shows_itself_afterwards(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        async with client.get("/problems?range=7d", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/login?next=%2Fproblems%3Frange%3D7d")
        response = await sign_in(client, ADMIN, "%2Fproblems%3Frange%3D7d")
        assert (response.status, response.headers["Location"]) == (303, "/problems?range=7d")
        async with client.get("/problems?range=7d") as response:
            assert response.status == 200
            assert "Sign out" in await response.text()


async def test_without_a_session_no_page_stream_or_download_is_served(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        for path in ("/", "/destinations/store", "/problems/letters/1", "/settings", "/event?id=1"):
            async with client.get(path, allow_redirects=False) as response:
                assert response.status == 303, path
        for path in ("/?format=stream", "/?table=datasets&format=csv", "/live?format=stream"):
            async with client.get(path) as response:
                assert response.status == 401, path
        async with client.post("/actions/resume", data={"destination": "store"}) as response:
            assert response.status == 401


@pytest.mark.parametrize("given", ["", "guess", f"{ADMIN}x", READ[:-1], "x" * 5000])
async def test_a_wrong_token_opens_no_session(tmp_path: Path, given: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        response = await sign_in(client, given)
        assert response.status == 403
        async with client.get("/", allow_redirects=False) as page:
            assert page.status == 303
    assert not given or given not in caplog.text


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [({}, False), ({"X-Forwarded-Proto": "https"}, True), ({"X-Forwarded-Proto": "http"}, False)],
)
async def test_the_cookie_of_a_session_is_kept_from_scripts_and_other_sites(
    tmp_path: Path, headers: dict[str, str], is_secure: bool
) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        form = {"form_token": await form_token(client, "/login"), "token": ADMIN}
        async with client.post("/login", data=form, headers=headers, allow_redirects=False) as response:
            cookie = SimpleCookie(response.headers["Set-Cookie"])[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == "/"
    assert bool(cookie["secure"]) is is_secure


async def test_signing_in_changes_the_key_and_signing_out_ends_the_session(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        await form_token(client, "/login")
        before = {cookie.key: cookie.value for cookie in client.cookie_jar}
        await sign_in(client, ADMIN)
        session = {cookie.key: cookie.value for cookie in client.cookie_jar}
        assert session != before
        token = await form_token(client, "/")
        async with client.post("/logout", data={"form_token": "0" * 64}, allow_redirects=False) as response:
            assert response.status == 400, "a form of another page ends no session"
        async with client.post("/logout", data={"form_token": token}, allow_redirects=False) as response:
            assert response.status == 303
        async with client.get("/", cookies=session, allow_redirects=False) as response:
            assert response.status == 303


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a%0d%0aX: 1", ""]
)
async def test_signing_in_leads_nowhere_but_to_the_console(tmp_path: Path, target: str) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        response = await sign_in(client, ADMIN, target)
        assert response.headers["Location"] == "/"


async def test_a_link_of_another_site_is_followed_with_the_cookie_by_a_page_of_the_console(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        headers = {"Sec-Fetch-Site": "cross-site"}
        async with client.get("/event?id=%22%3E%3Cb%3E", headers=headers, allow_redirects=False) as response:
            text = await response.text()
            assert response.status == 200
            assert 'http-equiv="refresh" content="0;url=/event?id=%22%3E%3Cb%3E"' in text
            assert "<b>" not in text


async def test_too_many_wrong_tokens_have_to_wait(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        statuses = [(await sign_in(client, "wrong")).status for _ in range(7)]
        assert statuses == [403] * 5 + [429] * 2
        late = await sign_in(client, ADMIN)
        assert late.status == 429, "a right token has to wait, too"
        assert int(late.headers["Retry-After"]) > 0
        async with client.get("/", headers={"Authorization": f"Bearer {ADMIN}"}) as response:
            assert response.status == 200, "who has the token in a header is not affected"


async def test_the_read_token_sees_everything_and_changes_nothing(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        await port.spool.append([], [letter()])
        await sign_in(client, READ)
        async with client.get("/") as response:
            assert "read only" in await response.text()
        token = await form_token(client, "/problems/replay")
        for action in ("resume", "replay", "discard"):
            async with client.post(f"/actions/{action}", data={"form_token": token}) as response:
                assert response.status == 403, action
        async with client.post("/playground", data={"form_token": token, "event": "{}"}) as response:
            assert response.status == 200, "the playground changes nothing"
        assert port.gateway.resumed == []
        assert await port.spool.count_dead_letters() == 1


async def test_the_json_routes_accept_the_read_token_for_reading_only(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        headers = {"Authorization": f"Bearer {READ}"}
        async with client.get("/status", headers=headers) as response:
            assert response.status == 200
        for path in ("/lanes/resume", "/dead-letters/replay", "/dead-letters/discard"):
            async with client.post(path, headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (403, "read_only"), path
        assert port.gateway.resumed == []


async def test_a_session_opens_no_json_route(tmp_path: Path) -> None:
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        await sign_in(client, ADMIN)
        async with client.get("/status") as response:
            assert response.status == 401


async def test_a_page_of_another_site_can_send_no_form(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        token = await form_token(client, "/playground")
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            async with client.post("/actions/resume", data={"form_token": token}, headers=headers) as response:
                assert response.status == 403
        async with client.get("/", headers={"Host": "evil.example"}) as response:
            assert response.status == 403
        assert port.gateway.resumed == []


async def test_an_action_by_a_link_is_refused(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        for path in ("/actions/resume?destination=store", "/actions/discard", "/logout"):
            async with client.get(path) as response:
                assert response.status == 400, path
        assert port.gateway.resumed == []


async def test_every_action_is_a_line_of_the_audit_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gateway.audit")
    async with console_port(tmp_path, **TOKENS) as port, browser(port) as client:
        await port.spool.append([], [letter(1), letter(2), letter(3, code="expired")])
        await sign_in(client, ADMIN)
        token = await form_token(client, "/problems/replay")
        await client.post("/actions/resume", data={"form_token": token, "destination": "store"}, allow_redirects=False)
        form = {"form_token": token, "code": "expired", "order_id": "1003"}
        await client.post("/actions/discard", data=form, allow_redirects=False)
        await client.post("/dead-letters/replay", headers={"Authorization": f"Bearer {ADMIN}"})
    records = [record.__dict__ for record in caplog.records if record.name == "gateway.audit"]
    lines = [(record["action"], record["by"], record["count"]) for record in records]
    assert lines == [("resume", "admin token", 2), ("discard", "admin token", 1), ("replay", "admin token", 2)]
    assert records[1]["code"] == "expired"
    assert records[1]["order_id"] == "given", "IDs are not logged"


async def every_response(client: aiohttp.ClientSession) -> list[aiohttp.ClientResponse]:
    paths = ("/", "/login", "/settings", "/problems?range=wrong", "/destinations/none", "/?table=datasets&format=csv")
    return [await client.get(path) for path in paths]


async def test_no_page_executes_scripts_or_loads_anything_from_elsewhere(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        for response in await every_response(client):
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Referrer-Policy"] == "same-origin"
            text = await response.text()
            assert not re.search(
                r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://(?!graph\.facebook)", text
            ), response.url


async def test_a_form_that_is_too_large_or_not_valid_is_refused(tmp_path: Path) -> None:
    async with console_port(tmp_path) as port, browser(port) as client:
        token = await form_token(client, "/playground")
        bodies: list[tuple[bytes, str]] = [
            (b"form_token=" + b"x" * 300_000, "application/x-www-form-urlencoded"),
            (b"form_token=%ff", "application/x-www-form-urlencoded"),
            (b"&".join(b"a%d=1" % number for number in range(200)), "application/x-www-form-urlencoded"),
            (f'{{"form_token":"{token}"}}'.encode(), "application/json"),
        ]
        for body, content_type in bodies:
            async with client.post("/playground", data=body, headers={"Content-Type": content_type}) as response:
                assert response.status == 400, body[:30]


async def test_without_the_console_its_paths_do_not_exist(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        for path in ("/", "/login", "/static/x/console.css"):
            assert (await port.get(path)).status == 404
