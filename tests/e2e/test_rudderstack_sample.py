"""The sample call of RudderStack's documentation, sent with curl, arrives in both dialects with all fields."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.environment import EVENT_SET, WRITE_KEY, Environment, until

SAMPLE = Path(__file__).parent / "data" / "sample.json"


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_sample_arrives_with_every_field_of_the_mapping_table(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start():
        done = subprocess.run(
            ["curl", "-sS", "-u", f"{WRITE_KEY}:", f"{env.url}/v1/track", "-d", f"@{SAMPLE}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert done.stdout == '{"status":"ok","accepted":1,"ignored":0,"rejected":[]}'
        until(lambda: bool(env.arrived() and env.arrived(EVENT_SET + "00")), "both dialects")
        (conversions,), (offline,) = env.arrived(), env.arrived(EVENT_SET + "00")

    options = {
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1,
        "data_processing_options_state": 1000,
    }
    shared = {
        "ge": "m",
        "fn": "alex",
        "ln": "keener",
        "ct": "neworleans",
        "st": "la",
        "country": "us",
    }
    assert offline["match_keys"] == {
        "email": [digest("alex@example.com")],
        "phone": [digest("12025550146")],
        "gen": digest("m"),
        "doby": digest("1997"),
        "dobm": digest("02"),
        "dobd": digest("16"),
        **{key: digest(text) for key, text in shared.items() if key != "ge"},
        "fi": digest("a"),
        "f5first": digest("alex"),
        "f5last": digest("keene"),
        "zip": digest("90009"),
        "extern_id": "user@1",
    }
    product = {"id": "1", "quantity": 1, "brand": "Hasbro", "category": "Games"}
    assert offline.pop("event_time") > 1_700_000_000
    offline.pop("match_keys")
    assert offline == {
        "event_name": "AddToCart",
        "value": 18.99,
        "currency": "USD",
        "order_id": "cart1234",
        "contents": [{**product, "price": 18.99}],
        "content_type": "product",
        **options,
    }

    assert conversions["user_data"] == {
        "em": [digest("alex@example.com")],
        "ph": [digest("12025550146")],
        "db": digest("19970216"),
        **{key: digest(text) for key, text in shared.items()},
        "zp": digest("90009"),
        "external_id": [digest("user@1")],
    }
    assert conversions.pop("event_time") > 1_700_000_000
    conversions.pop("user_data")
    assert conversions == {
        "event_name": "AddToCart",
        "action_source": "physical_store",
        "custom_data": {
            "value": 18.99,
            "currency": "USD",
            "order_id": "cart1234",
            "contents": [{**product, "item_price": 18.99}],
            "content_type": "product",
        },
        **options,
    }
