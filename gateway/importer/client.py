"""Sends batches to a gateway: repeats what may be repeated, splits what is too large, stops at what cannot succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from gateway.backoff import backoff_delay
from gateway.escaping import printable
from gateway.model import GatewayError, Rejection

CONNECTIONS = 8
"""Requests in flight. More do not make a gateway on the same machine faster."""
REQUEST_TIMEOUT = 60.0
GIVE_UP_AFTER = 600.0
"""Seconds without any success after which the import stops. A gateway that restarts or is full is waited for."""
GIVE_UP_FIRST = 5.0
"""As above, if there was no response yet: the address is probably wrong."""
MAX_RETRY_AFTER = 3600.0
"""Seconds of `Retry-After` that are obeyed."""
BACKOFF_BASE = 0.25
BACKOFF_MAX = 10.0
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
SPLIT_STATUSES = frozenset({400, 413})
"""The batch is sent in halves, until the call is found to which it applies."""


class Stopped(Exception):
    """The import was stopped before the batch was accepted."""


@dataclass(slots=True)
class BatchResponse:
    """What the gateway said about the calls of a batch."""

    accepted: int = 0
    ignored: int = 0
    rejected: list[tuple[int, Rejection]] = field(default_factory=list)
    """By index in the batch, in order."""

    def add(self, other: BatchResponse, offset: int) -> None:
        """Add the response for the calls from index `offset` on."""
        self.accepted += other.accepted
        self.ignored += other.ignored
        self.rejected += [(index + offset, rejection) for index, rejection in other.rejected]


class GatewayClient:
    """The client of one gateway and one source. Use as an async context manager."""

    def __init__(self, url: str, write_key: str, stop: asyncio.Event, *, give_up_after: float = GIVE_UP_AFTER) -> None:
        self._url = f"{url.rstrip('/')}/v1/batch"
        self._headers = {
            "Authorization": aiohttp.encode_basic_auth(write_key, ""),
            "Content-Type": "application/json",
        }
        self._stop = stop
        self._give_up_after = give_up_after
        self._random = Random()  # noqa: S311 (not used for security)
        self._session: aiohttp.ClientSession | None = None
        self.waiting_for = ""
        """Why requests are being repeated; "" if they are not."""
        # Only the loop's thread changes these; loop time.
        self._succeeded_at = 0.0  # or started, before the first success
        self._is_reached = False  # whether there was a response
        self._paused_until = 0.0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT),
            headers=self._headers,
        )
        self._succeeded_at = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, calls: Sequence[bytes]) -> BatchResponse:
        """Send a batch until the gateway has decided about each call.

        Raises `GatewayError` when it cannot, and `Stopped`.
        """
        response = BatchResponse()
        if not calls:
            return response
        status, answer = await self._post(b'{"batch":[' + b",".join(calls) + b"]}")
        if status == 200:
            return _decoded(answer, len(calls), self._url)
        if len(calls) == 1:
            response.rejected.append((0, _rejection(answer, status, self._url)))
            return response
        middle = len(calls) // 2
        response.add(await self.send(calls[:middle]), 0)
        response.add(await self.send(calls[middle:]), middle)
        return response

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Post until the status is 200 or one of `SPLIT_STATUSES`. Raises as `send`."""
        assert self._session is not None  # noqa: S101 (used as a context manager)
        attempt = 0
        while True:
            await self._pause()
            attempt += 1
            status, retry_after = 0, None
            try:
                async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                    status = response.status
                    answer = await response.content.read(MAX_RESPONSE_BYTES)
                    while not response.content.at_eof() and len(answer) < MAX_RESPONSE_BYTES:
                        answer += await response.content.read(MAX_RESPONSE_BYTES - len(answer))
                    retry_after = response.headers.get("Retry-After")
            except aiohttp.InvalidURL:
                raise GatewayError(f"{self._url}: not a valid URL; give the address of the gateway") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = f"cannot connect to {self._url}: {printable(str(error) or type(error).__name__)}"
            else:
                if status == 200 or status in SPLIT_STATUSES:
                    self._succeeded_at, self._is_reached, self.waiting_for = self._now(), True, ""
                    return status, answer
                reason = f"{self._url} answered with status {status}: {_message(answer)}"
                if status not in RETRIED_STATUSES:
                    raise GatewayError(reason)
            self._check_deadline(reason, is_reached=status > 0)
            self.waiting_for = reason
            delay = _seconds(retry_after)
            if delay is None:
                delay = backoff_delay(attempt, base=BACKOFF_BASE, maximum=BACKOFF_MAX, random=self._random)
            self._paused_until = max(self._paused_until, self._now() + delay)

    async def _pause(self) -> None:
        """Wait until requests may be sent. All requests wait together. Raises `Stopped`."""
        while (delay := self._paused_until - self._now()) > 0:
            if self._stop.is_set():
                raise Stopped
            try:
                async with asyncio.timeout(delay):
                    await self._stop.wait()
            except TimeoutError:
                continue

    def _check_deadline(self, reason: str, *, is_reached: bool) -> None:
        """Raise `GatewayError` after too long a time without a success."""
        self._is_reached = self._is_reached or is_reached
        limit = self._give_up_after if self._is_reached else min(GIVE_UP_FIRST, self._give_up_after)
        waited = self._now() - self._succeeded_at
        if waited > limit:
            raise GatewayError(f"{reason}; gave up after {waited:.0f} s")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _seconds(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header; None without one, and for a date."""
    try:
        seconds = float(header) if header is not None else -1.0
    except ValueError:
        return None
    return min(seconds, MAX_RETRY_AFTER) if seconds >= 0 else None


def _decoded(answer: bytes, calls: int, url: str) -> BatchResponse:
    """The response to a batch. Raises `GatewayError` when it is not that of a gateway."""
    try:
        content: Any = orjson.loads(answer)
        rejected = [
            (int(each["index"]), Rejection(str(each["code"]), str(each["message"]))) for each in content["rejected"]
        ]
        response = BatchResponse(int(content["accepted"]), int(content["ignored"]), rejected)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        response = BatchResponse()
    is_complete = response.accepted + response.ignored + len(response.rejected) == calls
    if not is_complete or any(not 0 <= index < calls for index, _ in response.rejected):
        raise GatewayError(f"{url} did not answer as a gateway does; is it the address of a gateway for senders?")
    return response


def _rejection(answer: bytes, status: int, url: str) -> Rejection:
    """Why a single call was refused. Raises `GatewayError` when the response is not that of a gateway."""
    try:
        content: Any = orjson.loads(answer)
        return Rejection(str(content["code"]), str(content["message"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        if status == 413:
            message = "A proxy before the gateway refused the row, because it is too large. Shorten it."
            return Rejection("request_too_large", message)
        raise GatewayError(
            f"{url} answered with status {status}, and not as a gateway does: {_message(answer)}"
        ) from None


def _message(answer: bytes) -> str:
    """The code and the message of an error response; of another server, its text."""
    try:
        content: Any = orjson.loads(answer)
        return printable(f"{content['code']}: {content['message']}")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return printable(answer[:200].decode(errors="replace"))
