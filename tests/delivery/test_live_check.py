"""What `check --live` finds out from Meta, with the sandbox and with responses that it does not give."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest

from gateway.config import DestinationSettings
from gateway.delivery import HttpResponse, NoResponse
from gateway.delivery.live_check import TEST_EVENT_NAME, Finding, Level, check_destination
from gateway.meta import GraphRequest
from gateway.sandbox import SandboxOptions
from gateway.sandbox.server import Sandbox

TOKEN = "EAAB-never-to-be-seen"
DATASET = "1148872185708962"


def destination(**changes: Any) -> DestinationSettings:
    return DestinationSettings.model_validate(
        {"api": "conversions", "access_token": TOKEN, "standard_to_event_sets": {"Purchase": [DATASET]}, **changes}
    )


async def check_with_sandbox(
    options: SandboxOptions, code: str | None = None, **changes: Any
) -> tuple[list[Finding], Sandbox]:
    sandbox = Sandbox(options)
    await sandbox.start()
    try:
        settings = destination(**changes, upload={"graph_url": f"http://127.0.0.1:{sandbox.port}"})
        return await check_destination("store", settings, [DATASET], code), sandbox
    finally:
        await sandbox.stop()


def levels(findings: list[Finding]) -> dict[str, Level]:
    return {finding.subject: finding.level for finding in findings}


async def test_valid_settings_are_ok_and_nothing_is_uploaded_without_a_test_code() -> None:
    findings, sandbox = await check_with_sandbox(SandboxOptions(token=TOKEN))
    assert levels(findings) == {
        "token": Level.OK,
        "permissions": Level.OK,
        f"dataset {DATASET}": Level.OK,
    }
    assert sandbox.stats.calls == 0


async def test_with_a_test_code_one_event_of_nobody_is_uploaded_with_it() -> None:
    findings, sandbox = await check_with_sandbox(SandboxOptions(token=TOKEN), "TEST123", app_secret="s")
    assert levels(findings)[f"test event to {DATASET}"] is Level.OK
    assert sandbox.stats.events == 1
    ((event_set, kept),) = sandbox._kept
    assert event_set == DATASET
    assert kept["call"]["test_event_code"] == "TEST123"
    assert kept["event"]["event_name"] == TEST_EVENT_NAME
    assert "custom_data" not in kept["event"]


async def test_a_refused_token_is_an_error_and_nothing_else_is_asked() -> None:
    findings, sandbox = await check_with_sandbox(SandboxOptions(token="another"), "TEST123")
    (finding,) = findings
    assert (finding.subject, finding.level) == ("token", Level.ERROR)
    assert "(190/467)" in finding.message
    assert "Replace the token" in finding.action
    assert sandbox.stats.calls == 0


async def test_an_unknown_dataset_is_an_error() -> None:
    findings, _ = await check_with_sandbox(SandboxOptions(token=TOKEN, event_sets=["7"]))
    assert levels(findings)[f"dataset {DATASET}"] is Level.ERROR
    assert findings[-1].action == "Check the ID and the token."


async def test_the_old_format_has_no_test_events() -> None:
    findings, sandbox = await check_with_sandbox(SandboxOptions(), "TEST123", api="offline")
    assert findings[-1].level is Level.ERROR
    assert "has no test events" in findings[-1].message
    assert sandbox.stats.calls == 0


class FakeMeta:
    """Answers by the part of the URL after the version."""

    def __init__(self, respond: Callable[[str], HttpResponse | Exception]) -> None:
        self.respond = respond

    async def send(self, request: GraphRequest) -> HttpResponse:
        assert TOKEN not in request.url
        response = self.respond(request.url.partition("/v25.0/")[2].partition("?")[0])
        if isinstance(response, Exception):
            raise response
        return response

    async def close(self) -> None:
        pass


def response(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def refusal(code: int, subcode: int | None = None) -> HttpResponse:
    # Meta's message for a token of a wrong form quotes it.
    error = {"message": f"Malformed access token {TOKEN}", "code": code, "error_subcode": subcode}
    return response({"error": {key: value for key, value in error.items() if value is not None}}, 400)


def permissions(*names: str) -> HttpResponse:
    entries = [{"permission": name, "status": "granted"} for name in names]
    return response({"data": [*entries, {"permission": "ads_read", "status": "declined"}]})


ALL = permissions("ads_management", "ads_read")
SEEN = response({"id": DATASET})


async def check(permission: HttpResponse | Exception, dataset: HttpResponse | Exception = SEEN) -> list[Finding]:
    meta = FakeMeta(lambda path: permission if path == "me/permissions" else dataset)
    return await check_destination("store", destination(), [DATASET], None, transport=lambda _: meta)


@pytest.mark.parametrize(
    ("given", "level", "message"),
    [
        (permissions("business_management"), Level.WARNING, "ads_read is not granted"),
        (permissions("ads_read"), Level.WARNING, "neither ads_management nor business_management is granted"),
        (permissions(), Level.WARNING, "neither ads_management nor business_management is granted"),
        (refusal(100, 33), Level.WARNING, "Meta does not say what the token may do (100/33)"),
        (response(b"<html>"), Level.ERROR, "Meta cannot be reached, or has a fault (unreadable_response)"),
        (refusal(2635), Level.ERROR, "Meta does not support the API version"),
        (refusal(17), Level.ERROR, "Meta limits the rate of calls (17)"),
        (NoResponse("no_connection", in_doubt=False), Level.ERROR, "Meta cannot be reached, or has a fault (no_connec"),
    ],
)
async def test_findings_about_the_token(given: HttpResponse | Exception, level: Level, message: str) -> None:
    found = [finding for finding in await check(given) if not finding.subject.startswith("dataset")]
    assert found[-1].level is level
    assert found[-1].message.startswith(message)
    assert found[-1].action
    assert TOKEN not in str([astuple(finding) for finding in found])


@pytest.mark.parametrize(
    ("given", "level", "message"),
    [
        (refusal(200), Level.WARNING, "the token may not read it (200); it may be allowed to send events"),
        (refusal(100, 33), Level.ERROR, "Meta does not know the ID or the token has no access to it (100/33)"),
        (response({"id": "7"}), Level.ERROR, "Meta gave no usable answer"),
        (NoResponse("timeout", in_doubt=True), Level.ERROR, "Meta cannot be reached, or has a fault (timeout)"),
    ],
)
async def test_findings_about_a_dataset(given: HttpResponse | Exception, level: Level, message: str) -> None:
    finding = (await check(ALL, given))[-1]
    assert (finding.level, finding.subject) == (level, f"dataset {DATASET}")
    assert finding.message.startswith(message)
    assert finding.action
    assert TOKEN not in str(astuple(finding))
