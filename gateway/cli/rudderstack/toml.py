"""Writes a converted destination as TOML: its source, the destination, and comments on what to check."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from gateway.cli.rudderstack.conversion import Conversion

TABLES = ("events_to_standard", "standard_to_event_sets", "category_to_content_type", "extra_fields")
"""Settings that are written as tables of their own. The others are written in one line each."""
COMMENTS = {
    "api": "the format that Meta accepts today",
    "access_token": "of a system user with access to the datasets",
    "test_event_code": "events are shown under Test Events, and still count; remove it after the test",
}


def as_toml(conversion: Conversion) -> str:
    """The settings of one destination and of a source that sends to it."""
    title = f"destinations.{conversion.name}"
    lines = [
        f"# From RudderStack's destination {_text(conversion.label)} ({conversion.kind}).",
        "",
        f"[sources.{conversion.name}]",
        "# The write key of the source in RudderStack, so that the senders keep theirs. If one source sends to several",
        "# destinations, list them here and remove the other sources with the same write key.",
        f'write_key = {{ env = "{conversion.variable}_WRITE_KEY" }}',
        f'destinations = ["{conversion.name}"]',
        "",
        f"[{title}]",
    ]
    for name, value in conversion.settings.items():
        if name not in TABLES:
            comment = f"   # {COMMENTS[name]}" if name in COMMENTS else ""
            lines.append(f"{name} = {_value(value)}{comment}")
    for name in TABLES:
        if table := conversion.settings.get(name):
            lines += ["", f"[{title}.{name}]"]
            lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
    return "\n".join([*lines, ""])


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _text(value)
        case Mapping():
            return f"{{ {', '.join(f'{_key(name)} = {_value(entry)}' for name, entry in value.items())} }}"
        case _:
            return f"[{', '.join(map(_value, value))}]"


def _text(text: str) -> str:
    """A TOML string on one line. JSON has the same escapes; the other characters that are not printable get TOML's."""
    encoded = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in encoded)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
