"""What the gateway sends for a value of one field. Also a program, so that another version of the gateway can be asked.

As a program it reads a list of field, value and country as JSON and writes a list of hashes and normalised text. It
imports only the standard library and `gateway`, which PYTHONPATH may take from another folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.mapping.explain import explain

NOW = 1_795_000_000
KEYS: Mapping[str, tuple[str, str]] = {
    "email": ("em", "email"),
    "phone": ("ph", "phone"),
    "gender": ("ge", "gender"),
    "birthday": ("db", "birthday"),
    "first_name": ("fn", "firstName"),
    "last_name": ("ln", "lastName"),
    "city": ("ct", "city"),
    "state": ("st", "state"),
    "zip": ("zp", "zip"),
    "country": ("country", "country"),
    "external_id": ("external_id", "id"),
}
"""Field to its key in the upload and its name in the traits."""


class Sent(NamedTuple):
    """What the gateway sends for a value."""

    hashes: Sequence[str]
    text: str | None
    """The normalised text; None if it is sent as it is, or not at all."""


def sent_by_gateway(given: Sequence[Sequence[Any]]) -> list[Sent]:
    """Map an event for each value, with no other identity than its country.

    Args:
        given: field, value, and country or None.
    """
    settings = {"api": "conversions", "access_token": "-", "standard_to_event_sets": {"Purchase": ["1"]}}
    mapper = compile_mapper("store", DestinationSettings.model_validate(settings))
    return [_sent(mapper, *each) for each in given]


def _sent(mapper: Mapper, field: str, value: str, country: str | None) -> Sent:
    key, trait = KEYS[field]
    traits = {"country": country, trait: value} if country else {trait: value}
    context = {"externalId": [{"type": "LeadId", "id": "1"}]}  # so that no event is without an identity
    explanation = explain(
        mapper, {"type": "track", "event": "Order Completed", "traits": traits, "context": context}, NOW
    )
    step = next(step for step in explanation.steps if step.key == key)
    sent = step.sent.get(key) if isinstance(step.sent, dict) else step.sent
    return Sent(sent if isinstance(sent, list) else [] if sent is None else [sent], step.normalised)


def sent_by_checkout(given: Sequence[Sequence[Any]], checkout: Path) -> list[Sent]:
    """The same for the version of the gateway in another folder.

    Raises:
        subprocess.CalledProcessError: that version fails.
    """
    done = subprocess.run(
        [sys.executable, "-P", __file__],
        env=os.environ | {"PYTHONPATH": str(checkout.resolve())},
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Sent(*each) for each in json.loads(done.stdout)]


if __name__ == "__main__":
    json.dump(sent_by_gateway(json.load(sys.stdin)), sys.stdout)
