"""The sandbox's scores and counts follow from the events that it received."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gateway.config import DestinationSettings
from gateway.delivery import QualityReader
from gateway.model import JsonObject
from gateway.sandbox.quality import GOOD_SCORE, dataset_fields, dataset_quality
from gateway.sandbox.server import Sandbox, SandboxOptions

NOW = 1_800_000_000.0
HASH = "a" * 64


def event(number: int = 0, *, keys: tuple[str, ...] = ("em", "ph"), age: float = 3600, **changes: Any) -> JsonObject:
    return {
        "event_name": "Purchase",
        "event_time": int(NOW - age),
        "event_id": f"m{number}",
        "action_source": "physical_store",
        "user_data": {key: [HASH] for key in keys},
        **changes,
    }


def offline(events: list[JsonObject]) -> JsonObject:
    (quality,) = dataset_quality(events, NOW)["offline"]
    return dict(quality)


def test_more_identities_and_fresher_events_give_better_scores() -> None:
    days = [event(day, age=day * 86_400) for day in range(3)]
    good, few_keys = offline(days), offline([event(keys=("em",)), event(keys=("ph",))])
    old = offline([event(age=9 * 86_400)])
    assert good["composite"]["score"] >= GOOD_SCORE
    assert "recommendation" not in good["composite"]
    assert few_keys["match_key"]["score"] < good["match_key"]["score"]
    assert few_keys["match_key"]["coverage"] == {"email": 50.0, "phone": 50.0}
    assert old["freshness"]["score"] < good["freshness"]["score"]
    assert old["freshness"]["recommendation"] == "Send events sooner after the sale."


def test_events_of_a_website_have_scores_of_their_own() -> None:
    quality = dataset_quality([event(action_source="website", keys=("em", "fbp"))], NOW)
    assert quality["offline"] == []
    (web,) = quality["web"]
    feedback = web["event_match_quality"]["match_key_feedback"]
    assert [entry["identifier"] for entry in feedback] == ["email", "fbp"]


def test_the_counts_of_a_dataset_have_its_duplicates_and_times() -> None:
    fields = dataset_fields("1", [event(1), event(1, age=60), event(2, keys=("ct",))])
    assert (fields["valid_entries"], fields["matched_entries"], fields["duplicate_entries"]) == (3, 2, 1)
    assert (fields["match_rate_approx"], fields["event_time_max"]) == (67, int(NOW - 60))
    assert dataset_fields("1", [])["valid_entries"] == 0


@asynccontextmanager
async def sandbox(**options: Any) -> AsyncIterator[str]:
    running = Sandbox(SandboxOptions(**options), lambda: NOW)
    await running.start()
    try:
        yield f"http://127.0.0.1:{running.port}"
    finally:
        await running.stop()


def reader(url: str, token: str = "right") -> QualityReader:
    settings = DestinationSettings.model_validate(
        {
            "api": "conversions",
            "access_token": token,
            "standard_to_event_sets": {"Purchase": ["1148"]},
            "upload": {"graph_url": url},
        }
    )
    return QualityReader({"store": settings}, clock=lambda: NOW)


async def test_a_gateway_reads_the_scores_of_what_it_sent() -> None:
    async with sandbox(token="right") as url, aiohttp.ClientSession() as session:
        call = {"access_token": "right", "data": [event(custom_data={"value": 1, "currency": "USD"})]}
        async with session.post(f"{url}/v25.0/1148/events", json=call) as response:
            assert response.status == 200, await response.text()
            assert response.headers["X-FB-Trace-ID"]
        quality = reader(url)
        (dataset,) = await quality.read()
        await quality.close()
    assert dataset.error is None
    assert [one.event_name for one in dataset.offline] == ["Purchase"]
    assert dataset.offline[0].coverage == {"email": 100.0, "phone": 100.0}
    assert dataset.counts is not None
    assert dataset.counts.valid == 1


@pytest.mark.parametrize(
    ("options", "expected"), [({"token": "right"}, "refuses the access token"), ({"event_sets": ("2",)}, "no scores")]
)
async def test_a_wrong_token_or_dataset_is_refused(options: dict[str, Any], expected: str) -> None:
    async with sandbox(**options) as url:
        quality = reader(url, "wrong")
        (dataset,) = await quality.read()
        await quality.close()
    assert expected in (dataset.error or "")
