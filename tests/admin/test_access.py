"""Requests that the admin port refuses: unknown hosts, pages of other sites, and wrong tokens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.admin.access import AccessPolicy, Refusal
from gateway.config import ConfigError
from tests.admin.admin_port import admin_port, settings

TOKEN = "admin-token"


@pytest.mark.parametrize(
    "host", [b"localhost", b"localhost:8081", b"LOCALHOST.", b"127.0.0.1", b"127.8.9.1:1", b"[::1]", b"[::1]:8081"]
)
async def test_a_loopback_host_is_allowed(tmp_path: Path, host: bytes) -> None:
    async with admin_port(tmp_path) as port:
        assert (await port.request("GET", "/status", host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        *(b"", b"evil.example", b"evil.example:8081", b"localhost.evil.example", b"evil.example/localhost"),
        *(b"localhost@evil.example", b"evil.example:localhost", b"127.0.0.1.evil.example", b"10.0.0.1", b"0.0.0.0"),
        *(b"[fd00::1]:8081", b"2130706433", b"0x7f.1", b"localhost evil.example", b"\xff\xfe", b"[::1"),
        b"localhost\r\nHost: evil.example",
    ],
)
async def test_any_other_host_is_refused_by_all_routes_but_the_probes(tmp_path: Path, host: bytes | None) -> None:
    async with admin_port(tmp_path) as port:
        for method, target in (("GET", "/status"), ("POST", "/dead-letters/discard"), ("GET", "/nowhere")):
            reply = await port.request(method, target, host=host)
            assert reply.status in {400, 403}, "400: aiohttp takes it for no valid HTTP"
            if reply.status == 403:
                assert reply.json["code"] == "host_not_allowed"
                assert "admin.hosts" in reply.json["message"]
        probe = await port.request("GET", "/healthz", host=host)
        assert probe.status in {200, 400}


async def test_most_unknown_hosts_get_403(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        assert (await port.request("GET", "/metrics", host=b"evil.example")).status == 403


def policy(folder: Path, **admin: Any) -> AccessPolicy:
    return AccessPolicy(settings(folder, **admin).admin)


def refusal(given: AccessPolicy, method: str = "GET", at: str = "127.0.0.1", **headers: str) -> Refusal | None:
    """The refusal of a request; the names of `headers` have underscores."""
    named = CIMultiDict({name.replace("_", "-"): value for name, value in {"Host": "localhost", **headers}.items()})
    return given.refusal(method, CIMultiDictProxy(named), at, is_public=False)


def test_the_names_in_the_settings_are_allowed_with_any_port_or_with_the_one_that_is_given(tmp_path: Path) -> None:
    given = policy(tmp_path, hosts=["Gateway.internal", "proxy.example:9000", "[fd00::1]"])
    for host in ("gateway.internal", "GATEWAY.internal:1234", "proxy.example:9000", "[fd00::1]:8081"):
        assert refusal(given, Host=host) is None, host
    for host in ("proxy.example", "proxy.example:8081", "internal", "[fd00::2]"):
        assert refusal(given, Host=host) is not None, host


def test_the_address_that_is_listened_on_is_allowed(tmp_path: Path) -> None:
    given = policy(tmp_path, host="gateway.internal", token=TOKEN)
    assert refusal(given, Host="gateway.internal:8081", Authorization=f"Bearer {TOKEN}") is None
    wildcard = policy(tmp_path, host="0.0.0.0", token=TOKEN)
    for host in ("10.0.0.7:8081", "10.0.0.7"):
        assert refusal(wildcard, at="10.0.0.7", Host=host, Authorization=f"Bearer {TOKEN}") is None
        assert refusal(wildcard, at="10.0.0.8", Host=host, Authorization=f"Bearer {TOKEN}") is not None
    assert refusal(wildcard, at="fd00::1", Host="[FD00:0::1]:80", Authorization=f"Bearer {TOKEN}") is None


@pytest.mark.parametrize("hosts", ["a b", ["http://a"], [""], ["a/b"], ["[fd00::1"], ["a:port"], ["x" * 301]])
def test_a_setting_that_is_no_host_is_an_error_that_names_it(tmp_path: Path, hosts: Any) -> None:
    with pytest.raises(ConfigError, match=r"admin\.hosts"):
        settings(tmp_path, hosts=hosts)


SAME_SITE: list[tuple[bytes, ...]] = [
    (),
    (b"Origin: http://localhost:8081",),
    (b"Origin: https://LOCALHOST:8081",),
    (b"Sec-Fetch-Site: same-origin", b"Origin: http://localhost:8081"),
    (b"Sec-Fetch-Site: none",),
]
CROSS_SITE: list[tuple[bytes, ...]] = [
    (b"Origin: null",),
    (b"Origin: ",),
    (b"Origin: http://evil.example",),
    (b"Origin: http://localhost",),
    (b"Origin: http://localhost:3000",),
    (b"Origin: http://evil.example@localhost:8081",),
    (b"Origin: localhost:8081",),
    (b"Origin: http://localhost:8081", b"Origin: http://evil.example"),
    (b"Sec-Fetch-Site: cross-site",),
    (b"Sec-Fetch-Site: same-site",),
    (b"Sec-Fetch-Site: ",),
    (b"Sec-Fetch-Site: cross-site", b"Origin: http://localhost:8081"),
]


@pytest.mark.parametrize("headers", SAME_SITE)
@pytest.mark.parametrize("target", ["/dead-letters/discard", "/dead-letters/replay", "/lanes/resume"])
async def test_a_request_of_a_command_or_of_the_same_host_may_change_the_state(
    tmp_path: Path, target: str, headers: tuple[bytes, ...]
) -> None:
    async with admin_port(tmp_path) as port:
        assert (await port.request("POST", target, *headers, host=b"localhost:8081")).status == 200


@pytest.mark.parametrize("headers", CROSS_SITE)
@pytest.mark.parametrize("target", ["/dead-letters/discard", "/dead-letters/replay", "/lanes/resume", "/nowhere"])
async def test_a_page_of_another_site_changes_nothing(tmp_path: Path, target: str, headers: tuple[bytes, ...]) -> None:
    async with admin_port(tmp_path) as port:
        reply = await port.request("POST", target, *headers, host=b"localhost:8081")
        assert reply.status in {400, 403}, "400: aiohttp takes a repeated header for no valid HTTP"
        if reply.status == 403:
            assert reply.json["code"] == "cross_site"
        assert port.gateway.resumed == []


async def test_no_other_site_may_read_a_response(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        reply = await port.get("/status", b"Origin: http://evil.example")
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"Authorization: " + TOKEN.encode(),
        b"Authorization: Basic " + TOKEN.encode(),
        b"Authorization: bearer" + TOKEN.encode(),
        b"Authorization: Bearer",
        b"Authorization: Bearer  " + TOKEN.encode(),
        b"Authorization: Bearer " + TOKEN.encode() + b"x",
        b"Authorization: Bearer " + TOKEN.encode()[:-1],
        b"Authorization: Bearer Bearer " + TOKEN.encode(),
        b"Authorization: Bearer \xff\xfe\xc3\xa9",
        "Authorization: Bearer päss".encode(),
        b"Authorization: Bearer " + TOKEN.encode() + b"\xff",
        b"Authorization: Bearer " + TOKEN.encode() + b"\r\nAuthorization: Bearer x",
    ],
)
async def test_a_wrong_or_malformed_token_is_401_and_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: bytes | None
) -> None:
    async with admin_port(tmp_path, token=TOKEN) as port:
        with caplog.at_level(logging.DEBUG):
            reply = await port.get("/status", *([header] if header is not None else []))
        if reply.status == 400:  # aiohttp refuses repeated headers
            assert header is not None
            assert header.count(b"Authorization") == 2
            return
        assert (reply.status, reply.json["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert not caplog.records


async def test_the_token_is_required_for_all_routes_but_the_probes(tmp_path: Path) -> None:
    async with admin_port(tmp_path, token=TOKEN) as port:
        for method, target in (
            *(("GET", "/status"), ("GET", "/metrics"), ("GET", "/dead-letters"), ("GET", "/nowhere")),
            *(("POST", "/dead-letters/replay"), ("POST", "/dead-letters/discard"), ("POST", "/lanes/resume")),
        ):
            assert (await port.request(method, target)).status == 401
            allowed = await port.request(method, target, f"Authorization: Bearer {TOKEN}".encode())
            assert allowed.status == (404 if target == "/nowhere" else 200)
        for target in ("/healthz", "/readyz"):
            assert (await port.get(target)).status == 200


async def test_a_token_that_is_not_ascii_can_be_sent(tmp_path: Path) -> None:
    async with admin_port(tmp_path, token="geheimnis-ß") as port:
        assert (await port.get("/status", "Authorization: Bearer geheimnis-ß".encode())).status == 200
        assert (await port.get("/status", b"Authorization: Bearer geheimnis-\xdf")).status == 401
