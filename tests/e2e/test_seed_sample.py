"""The sample call of RudderStack's page on this destination, posted with curl, arrives whole in both dialects."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.environment import EVENT_SET, WRITE_KEY, Environment, until

SAMPLE = Path(__file__).parent / "data" / "sample.json"


def h(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there")
def test_the_sample_arrives_with_every_field_that_the_table_promises(tmp_path: Path) -> None:
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
        (today,), (legacy,) = env.arrived(), env.arrived(EVENT_SET + "00")

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
    assert legacy["match_keys"] == {
        "email": [h("alex@example.com")],
        "phone": [h("12025550146")],
        "gen": h("m"),
        "doby": h("1997"),
        "dobm": h("02"),
        "dobd": h("16"),
        **{key: h(text) for key, text in shared.items() if key != "ge"},
        "zip": h("90009"),
        "extern_id": "user@1",
    }
    product = {"id": "1", "quantity": 1, "brand": "Hasbro", "category": "Games"}
    assert legacy.pop("event_time") > 1_700_000_000
    legacy.pop("match_keys")
    assert legacy == {
        "event_name": "AddToCart",
        "value": 18.99,
        "currency": "USD",
        "order_id": "cart1234",
        "contents": [{**product, "price": 18.99}],
        "content_type": "product",
        **options,
    }

    assert today["user_data"] == {
        "em": [h("alex@example.com")],
        "ph": [h("12025550146")],
        "db": h("19970216"),
        **{key: h(text) for key, text in shared.items()},
        "zp": h("90009"),
        "external_id": [h("user@1")],
    }
    assert today.pop("event_time") > 1_700_000_000
    today.pop("user_data")
    assert today == {
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
