"""When Meta is asked for its scores, and what happens when it does not answer."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.config.secret import Secret
from gateway.delivery import HttpResponse, NoResponse
from gateway.delivery.quality import KEPT_SECONDS, RETRY_SECONDS, WAIT_SECONDS, QualityReader
from gateway.meta import GraphRequest
from tests.delivery.virtual_time import run

SCORES = orjson.dumps({"offline": [{"event_name": "Purchase", "composite": {"score": 7}}]})
COUNTS = orjson.dumps({"valid_entries": 5})


def destination(*event_sets: str, token: Any = "t") -> DestinationSettings:
    return DestinationSettings.model_validate(
        {"api": "conversions", "access_token": token, "standard_to_event_sets": {"Lead": list(event_sets)}}
    )


class FakeMeta:
    def __init__(self) -> None:
        self.requests: list[GraphRequest] = []
        self.respond: Callable[[GraphRequest], HttpResponse | Exception] = self.success
        self.latency = 0.1
        self.is_closed = False

    @staticmethod
    def success(request: GraphRequest) -> HttpResponse:
        return HttpResponse(200, {}, SCORES if "dataset_quality" in request.url else COUNTS)

    async def send(self, request: GraphRequest) -> HttpResponse:
        self.requests.append(request)
        await asyncio.sleep(self.latency)
        response = self.respond(request)
        if isinstance(response, Exception):
            raise response
        return response

    async def close(self) -> None:
        self.is_closed = True


def reader(meta: FakeMeta, **destinations: DestinationSettings) -> QualityReader:
    return QualityReader(
        destinations or {"store": destination("1", "2")},
        transport=lambda _: meta,
        clock=lambda: asyncio.get_running_loop().time(),
    )


def test_each_dataset_is_read_once_in_fifteen_minutes_and_only_when_somebody_asks() -> None:
    async def work() -> None:
        meta = FakeMeta()
        quality = reader(meta)
        await asyncio.sleep(KEPT_SECONDS * 2)
        assert meta.requests == []
        first = await quality.read()
        assert [(one.event_set, one.offline[0].composite.score) for one in first] == [("1", 7), ("2", 7)]
        assert [one.counts.valid for one in first if one.counts] == [5, 5]
        await asyncio.sleep(KEPT_SECONDS - 10)
        assert await quality.read() == first
        assert len(meta.requests) == 4
        await asyncio.sleep(10)
        await quality.read()
        assert len(meta.requests) == 8
        await quality.close()
        assert meta.is_closed

    run(work())


def test_callers_at_the_same_time_share_the_calls() -> None:
    async def work() -> None:
        meta = FakeMeta()
        quality = reader(meta, store=destination("1"))
        await asyncio.gather(*(quality.read() for _ in range(20)))
        assert len(meta.requests) == 2
        await quality.close()

    run(work())


def test_a_caller_does_not_wait_long_for_a_slow_meta() -> None:
    async def work() -> None:
        meta = FakeMeta()
        meta.latency = 20.0
        quality = reader(meta, store=destination("1"))
        began = asyncio.get_running_loop().time()
        (unanswered,) = await quality.read()
        assert asyncio.get_running_loop().time() - began < WAIT_SECONDS + 0.1
        assert "not answered yet" in (unanswered.error or "")
        await asyncio.sleep(60)
        (answered,) = await quality.read()
        assert answered.error is None
        assert len(meta.requests) == 2
        await quality.close()

    run(work())


def test_an_error_is_a_value_and_is_kept_for_a_minute() -> None:
    async def work() -> None:
        meta = FakeMeta()
        meta.respond = lambda _: NoResponse("timeout", in_doubt=True)
        quality = reader(meta, store=destination("1"))
        (failed,) = await quality.read()
        assert failed.error == "Meta cannot be reached (timeout)."
        meta.respond = lambda _: RuntimeError("a bug that quotes secret-token")
        await asyncio.sleep(RETRY_SECONDS)
        (failed,) = await quality.read()
        assert failed.error == "The gateway failed; its log has the details."
        meta.respond = FakeMeta.success
        await asyncio.sleep(RETRY_SECONDS)
        (answered,) = await quality.read()
        assert answered.error is None
        await quality.close()

    run(work())


def test_a_replaced_token_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    def respond(request: GraphRequest) -> HttpResponse:
        if request.headers["Authorization"] == "Bearer old":
            return HttpResponse(401, {}, orjson.dumps({"error": {"code": 190}}))
        return FakeMeta.success(request)

    async def work() -> None:
        meta = FakeMeta()
        meta.respond = respond
        quality = reader(meta, store=destination("1", token=Secret("old", file=str(path))))
        path.write_text("new")
        (answered,) = await quality.read()
        assert answered.error is None
        await quality.close()

    asyncio.run(work())


def test_after_a_reload_the_datasets_of_the_new_settings_are_asked_for() -> None:
    async def work() -> None:
        meta = FakeMeta()
        quality = reader(meta, store=destination("1"), crm=destination("9"))
        await quality.read()
        await quality.reload({"store": destination("1", "2"), "crm": destination("9")})
        assert [one.event_set for one in await quality.read()] == ["1", "2", "9"]
        assert len(meta.requests) == 4 + 4  # the crm's is still known
        await quality.close()

    run(work())


def test_a_reload_ends_the_calls_with_the_former_settings() -> None:
    async def work() -> None:
        meta = FakeMeta()
        meta.latency = 20.0
        quality = reader(meta, store=destination("1"))
        await quality.read()
        await quality.reload({})
        assert await quality.read() == []
        await quality.close()

    run(work())
