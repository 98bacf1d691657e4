"""Sends alerts to the webhook of the settings: a POST when the uploads of a lane stop, and when they resume.

Alerts are sent by a task of their own, so that no lane waits for the webhook. An alert contains no event, no upload tag
(a sender chose it) and no token. The URL of the webhook is never logged, because it may contain a secret.
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
from gateway.escaping import printable
from gateway.model import JsonObject, Lane, UnixSeconds
from gateway.telemetry.ledger import Ledger

log = logging.getLogger("gateway.alerts")

MAX_QUEUED = 1000
"""Alerts that may wait to be sent. Further ones are counted as failed."""
MAX_ATTEMPTS = 5
FIRST_RETRY_SECONDS = 1.0
"""Seconds before the second attempt; doubled after each further one."""
TIMEOUT = 10.0
"""Seconds for one attempt."""


class AlertType(StrEnum):
    """The event that an alert reports."""

    BLOCKED = "lane_blocked"
    RESUMED = "lane_resumed"


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of the state of one lane."""

    alert_type: AlertType
    lane: Lane
    kind: str
    """Why uploads stopped: token, permission, object, version, policy or systemic."""
    code: str
    """Of the response that stopped them, such as `meta_190_463`."""
    waiting: int
    """Events of the lane in the spool."""
    at: UnixSeconds
    reason: str = ""
    """A clause that explains `kind` and `code` to an operator; by default these two."""
    remedy: str = ""
    """A sentence on how to fix the cause."""

    def as_json(self) -> JsonObject:
        """The body of the POST. `text` is the field that chat services display; `tag_hash` is as in the metrics."""
        lane = self.lane
        where = f'destination "{lane.destination}", dataset {lane.event_set}, upload tag {lane.tag_hash}'
        events = f"{self.waiting:,} event{'' if self.waiting == 1 else 's'}"
        if self.alert_type is AlertType.BLOCKED:
            reason = self.reason or f"{self.kind} ({self.code})"
            text = (
                f"uploads stopped for {where}: {reason}. {events} kept; retrying until a call succeeds. {self.remedy}"
            )
        else:
            text = f"uploads resumed for {where}: {events} waiting."
        return {
            "text": printable(text.strip()),
            "event": self.alert_type.value,
            "destination": lane.destination,
            "event_set": lane.event_set,
            "tag_hash": lane.tag_hash,
            "kind": self.kind,
            "code": self.code,
            "waiting": self.waiting,
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds"),
        }


class WebhookNotifier:
    """Queues alerts and sends them one after the other. Without a webhook, alerts are discarded."""

    def __init__(self, settings: AlertSettings, ledger: Ledger) -> None:
        self._ledger = ledger
        # Only the loop's thread touches these.
        self._webhook = settings.webhook
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(MAX_QUEUED)

    def reload(self, settings: AlertSettings) -> None:
        """Use another webhook from the next alert on."""
        self._webhook = settings.webhook

    def notify(self, alert: Alert) -> None:
        """Queue an alert. Returns at once."""
        if self._webhook is not None:
            try:
                self._queue.put_nowait(alert)
            except asyncio.QueueFull:
                self._ledger.alerts["failed"] += 1

    async def run(self) -> None:
        """Send queued alerts until cancelled."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            trust_env=True,
            headers={"Content-Type": "application/json"},
            auto_decompress=False,  # the body of a response is not read; aiohttp would decompress it as it arrives
            cookie_jar=aiohttp.DummyCookieJar(),  # otherwise each response could add cookies
        ) as session:
            while True:
                alert = await self._queue.get()
                try:
                    delivered = await self._send(session, alert)
                except Exception:
                    # A bug, or a host name that cannot be encoded. Later alerts can succeed after a reload.
                    log.exception(
                        "cannot deliver an alert to alerts.webhook because of an internal error. Check the URL",
                        extra={"lane": str(alert.lane), "alert": alert.alert_type.value},
                    )
                    delivered = False
                self._ledger.alerts["delivered" if delivered else "failed"] += 1
                self._queue.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait until the queue is empty, for at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), seconds)

    async def _send(self, session: aiohttp.ClientSession, alert: Alert) -> bool:
        """Post an alert, with retries; whether it was accepted."""
        body = orjson.dumps(alert.as_json())
        problem = ""
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await asyncio.sleep(FIRST_RETRY_SECONDS * 2 ** (attempt - 1))
            webhook = self._webhook
            if webhook is None:
                return False
            try:
                async with session.post(webhook.reveal(), data=body, allow_redirects=False) as response:
                    if response.status < 300:
                        return True
                    problem = f"status {response.status}"
                    if response.status < 500 and response.status not in {408, 429}:
                        break
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = type(error).__name__
        log.warning(
            "cannot deliver an alert to alerts.webhook: %s. Check the URL and the service behind it",
            problem,
            extra={"lane": str(alert.lane), "alert": alert.alert_type.value},
        )
        return False
