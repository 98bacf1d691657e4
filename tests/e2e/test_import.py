"""A destination exported from RudderStack is imported and served as it is, and RudderStack's sample call arrives."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.demo.subprocesses import Subprocess
from gateway.model import JsonObject
from tests.e2e.environment import TOKEN, WRITE_KEY, get, post, until

DATA = Path(__file__).parent / "data"
SAMPLE: JsonObject = json.loads((DATA / "sample.json").read_text())
BASIC = {"Authorization": f"Basic {b64encode(f'{WRITE_KEY}:'.encode()).decode()}"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[str]:
    """The URL of a sandbox."""
    with Subprocess(tmp_path, "sandbox", ["gateway", "sandbox", "--port", "0", "--token", TOKEN]).started() as process:
        yield process.addresses["server"]


def serve(folder: Path, export: JsonObject, name: str, sandbox: str) -> Subprocess:
    """Import an export and start a gateway with the printed settings. Only its addresses come from the environment."""
    (folder / "export.json").write_text(json.dumps(export))
    imported = subprocess.run(
        [sys.executable, "-m", "gateway", "import-rudderstack", str(folder / "export.json")],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert TOKEN not in imported.stdout + imported.stderr
    (folder / "gateway.toml").write_text(imported.stdout)
    environ = {
        f"{name}_WRITE_KEY": WRITE_KEY,
        f"{name}_ACCESS_TOKEN": TOKEN,
        f"GATEWAY_DESTINATIONS__{name}__UPLOAD__GRAPH_URL": sandbox,
        f"GATEWAY_DESTINATIONS__{name}__BATCH__MAX_AGE": "0.2",
        "GATEWAY_SERVER__PORT": "0",
        "GATEWAY_SERVER__DRAIN_DELAY": "0",
        "GATEWAY_ADMIN__PORT": "0",
        "GATEWAY_SPOOL__PATH": str(folder / "spool"),
    }
    arguments = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
    return Subprocess(folder, "gateway", arguments, environ=environ).started()


def arrived(sandbox: str, event_set: str) -> list[JsonObject]:
    return list(get(f"{sandbox}/_sandbox/events?event_set={event_set}")["events"])


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("file", "name", "event_sets"),
    [
        ("rudderstack_offline.json", "META_OFFLINE_EU", ["1148872185708962", "1148872185708963"]),
        ("rudderstack_conversions.json", "META_STORES", ["1148872185708962"]),
    ],
)
def test_the_sample_call_arrives_through_an_imported_destination(
    tmp_path: Path, sandbox: str, file: str, name: str, event_sets: list[str]
) -> None:
    with serve(tmp_path, json.loads((DATA / file).read_text()), name, sandbox) as gateway:
        assert post(f"{gateway.addresses['server']}/v1/track", SAMPLE, BASIC)[0] == 200
        until(lambda: all(arrived(sandbox, event_set) for event_set in event_sets), "the sample in each dataset")

    for event_set in event_sets:
        [event] = arrived(sandbox, event_set)
        assert (event["event_name"], event["action_source"]) == ("AddToCart", "physical_store")
        assert event["data_processing_options"] == ["LDU"]
        assert (event["custom_data"]["value"], event["custom_data"]["content_type"]) == (18.99, "product")
        identity = event["user_data"]
        assert identity["em"] == [digest("alex@example.com")]
        assert identity["ph"] == [digest("12025550146")]
        assert identity["db"] == digest("19970216")
        assert (identity["st"], identity["zp"], identity["country"]) == (digest("la"), digest("90009"), digest("us"))


def test_a_destination_for_websites_needs_what_meta_needs(tmp_path: Path, sandbox: str) -> None:
    export = json.loads((DATA / "rudderstack_conversions.json").read_text())
    export["config"]["actionSource"] = "website"
    visit = {"userAgent": "Mozilla/5.0", "page": {"url": "https://shop.example/cart"}}

    with serve(tmp_path, export, "META_STORES", sandbox) as gateway:
        url = f"{gateway.addresses['server']}/v1/track"
        status, answer = post(url, SAMPLE, BASIC)
        assert (status, answer["code"]) == (400, "website_incomplete")
        assert post(url, SAMPLE | {"context": SAMPLE["context"] | visit}, BASIC)[0] == 200
        until(lambda: bool(arrived(sandbox, "1148872185708962")), "the event with a user agent and a page")


def test_an_event_without_consent_is_not_sent_to_an_imported_destination(tmp_path: Path, sandbox: str) -> None:
    export = json.loads((DATA / "rudderstack_offline.json").read_text())
    consent = {"provider": "oneTrust", "deniedConsentIds": ["C0004"], "allowedConsentIds": []}
    denied = SAMPLE | {"messageId": "denied", "context": {"consentManagement": consent}}

    with serve(tmp_path, export, "META_OFFLINE_EU", sandbox) as gateway:
        url = f"{gateway.addresses['server']}/v1/batch"
        assert post(url, {"batch": [denied, SAMPLE | {"messageId": "given"}]}, BASIC)[0] == 200
        until(lambda: bool(arrived(sandbox, "1148872185708962")), "the event with consent")

    assert [event["event_id"] for event in arrived(sandbox, "1148872185708962")] == ["given"]
