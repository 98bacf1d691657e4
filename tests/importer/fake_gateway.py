"""A server with the responses of a gateway, on a free port of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
from aiohttp import web

from gateway.model import JsonObject


class Answer(NamedTuple):
    """One response."""

    status: int
    body: bytes = b'{"status":"error","code":"refused","message":"Refused."}'
    retry_after: str | None = None


def accepted(calls: Sequence[JsonObject]) -> Answer:
    """The response of a gateway that accepts every call, but rejects those whose order ID begins with `bad`."""
    rejected = [
        {"index": index, "message_id": call["messageId"], "code": "bad_order", "message": "The order is bad."}
        for index, call in enumerate(calls)
        if str(call.get("properties", {}).get("order_id", "")).startswith("bad")
    ]
    body = {"status": "ok", "accepted": len(calls) - len(rejected), "ignored": 0, "rejected": rejected}
    return Answer(200, orjson.dumps(body))


class FakeGateway:
    """Responds with `answers` in order, then as `respond` says. Use as an async context manager."""

    def __init__(self, *answers: Answer, respond: Callable[[Sequence[JsonObject]], Answer] = accepted) -> None:
        self.answers = list(answers)
        self.respond = respond
        self.batches: list[list[JsonObject]] = []
        """The calls of each request."""
        self.on_request: Callable[[], Any] = lambda: None
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        self.url = ""

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        calls = orjson.loads(await request.read())["batch"]
        self.batches.append(calls)
        self.on_request()
        answer = self.answers.pop(0) if self.answers else self.respond(calls)
        headers = {} if answer.retry_after is None else {"Retry-After": answer.retry_after}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await asyncio.sleep(0)
