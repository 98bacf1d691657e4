"""Tells somebody that a lane is blocked, or goes on: a POST to the webhook of the settings, apart from everything else.

An alert never holds an event, a token or the webhook's own address, which may be a secret. A lane does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import aiohttp
import orjson

from gateway.config import AlertSettings
from gateway.model import JsonObject, Lane, UnixSeconds
from gateway.telemetry.ledger import Ledger

log = logging.getLogger("gateway.alerts")

MOST_WAITING = 1000
"""WebhookNotifier that wait for the webhook; more are only logged."""
TRIES = 5
FIRST_PAUSE = 1.0
"""Seconds before the second try; doubled after each."""
TIMEOUT = 10.0
"""Seconds for a try."""


class AlertType(StrEnum):
    """What an alert is about."""

    BLOCKED = "lane_blocked"
    RESUMED = "lane_resumed"


@dataclass(frozen=True, slots=True)
class Alert:
    """One lane's news."""

    alert_type: AlertType
    lane: Lane
    kind: str
    """Why it is, or was, blocked: token, permission, object, version, policy, systematic."""
    code: str
    """Of the answer that blocked it, such as `meta_190_463`."""
    waiting: int
    """Its events."""
    at: UnixSeconds

    def as_json(self) -> JsonObject:
        """The body of the webhook's call; `text` is what chat services show."""
        if self.alert_type is AlertType.BLOCKED:
            text = f"{self.lane} is blocked ({self.kind}, {self.code}); {self.waiting} events wait and are kept."
        else:
            text = f"{self.lane} goes on; {self.waiting} events waited."
        return {
            "text": text,
            "event": self.alert_type.value,
            "destination": self.lane.destination,
            "event_set": self.lane.event_set,
            "upload_tag": self.lane.upload_tag,
            "kind": self.kind,
            "code": self.code,
            "waiting": self.waiting,
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds"),
        }


class WebhookNotifier:
    """The way to the webhook. Without one, alerts are only logged, which whoever raises them does."""

    def __init__(self, settings: AlertSettings, ledger: Ledger) -> None:
        self._ledger = ledger
        # Only the loop's thread touches these.
        self._webhook = settings.webhook
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(MOST_WAITING)

    def reload(self, settings: AlertSettings) -> None:
        """Use another webhook from the next alert on."""
        self._webhook = settings.webhook

    def notify(self, alert: Alert) -> None:
        """Send it when its turn comes."""
        if self._webhook is not None:
            try:
                self._waiting.put_nowait(alert)
            except asyncio.QueueFull:
                self._ledger.alerts["lost"] += 1

    async def run(self) -> None:
        """Send what is told, one after the other, until cancelled."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=True, headers={"Content-Type": "application/json"}
        ) as session:
            while True:
                alert = await self._waiting.get()
                outcome = "delivered" if await self._sent(session, alert) else "lost"
                self._ledger.alerts[outcome] += 1
                self._waiting.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait until nothing waits, for so long at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), seconds)

    async def _sent(self, session: aiohttp.ClientSession, alert: Alert) -> bool:
        body = orjson.dumps(alert.as_json())
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            webhook = self._webhook
            if webhook is None:
                return False
            try:
                async with session.post(webhook.reveal(), data=body, allow_redirects=False) as answer:
                    if answer.status < 300:
                        return True
                    problem = f"it answered {answer.status}"
                    if answer.status < 500 and answer.status not in {408, 429}:
                        break
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = type(error).__name__
        log.warning("an alert did not get to alerts.webhook: %s", problem, extra={"lane": str(alert.lane)})
        return False
