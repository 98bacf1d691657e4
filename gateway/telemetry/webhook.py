"""Sends alerts to the webhook of the settings, each as a POST with a JSON object.

Alerts are sent by a task of their own, so that nothing waits for the webhook. The URL of the webhook is never logged,
because it may contain a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import aiohttp
import orjson

from gateway.config import AlertSettings
from gateway.telemetry.alerts import Alert
from gateway.telemetry.ledger import Ledger

log = logging.getLogger("gateway.alerts")

MAX_QUEUED = 1000
"""Alerts that may wait to be sent. Further ones are counted as failed."""
MAX_ATTEMPTS = 5
FIRST_RETRY_SECONDS = 1.0
"""Seconds before the second attempt; doubled after each further one."""
TIMEOUT = 10.0
"""Seconds for one attempt."""
LAST_ALERTS_SECONDS = 2.0
"""Seconds for sending the alerts that are still queued when the process ends."""


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
                        extra={**alert.subject, "alert": alert.alert_type.value},
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
            extra={**alert.subject, "alert": alert.alert_type.value},
        )
        return False
