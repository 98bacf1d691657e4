"""`gateway import-rudderstack`."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from gateway.cli.common import fail, read_input
from gateway.escaping import printable

KNOWN = {
    "accessToken",
    "categoryToContent",
    "eventsToIds",
    "eventsToStandard",
    "isHashRequired",
    "limitedDataUSage",
    "valueFieldIdentifier",
}


def import_rudderstack(
    file: Annotated[str, typer.Argument(help="Exported destination configuration as JSON; - reads standard input.")],
) -> None:
    """Convert a RudderStack destination to gateway settings.

    Reads the configuration of a destination "Facebook Offline Conversions" and prints a gateway.toml. The access token
    is not printed: the settings read it from an environment variable.
    """
    try:
        tree = json.loads(read_input(file))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        fail(f"{file} is not valid JSON: {error}")
    config = _find_config(tree)
    if config is None:
        fail(f"{file} contains no destination configuration (no key `eventsToIds`); export the destination again")
    typer.echo(as_toml(config), nl=False)


def _find_config(tree: Any) -> dict[str, Any] | None:
    """The object with the key `eventsToIds`, at any depth: exports differ in the objects around it."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "eventsToIds" in node:
                return node
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return None


def as_toml(config: dict[str, Any]) -> str:
    """The settings as TOML, with comments where a person must check or complete them."""
    standards = _pairs_as_table(config.get("eventsToStandard"))
    sets = _pairs_as_table(config.get("eventsToIds"))
    categories = {name: values[0] for name, values in _pairs_as_table(config.get("categoryToContent")).items()}
    lines = [
        "# Converted from a RudderStack destination. The last lines list the parts that could not be converted.",
        "",
        "[sources.rudderstack]",
        'write_key = { env = "GATEWAY_WRITE_KEY" }   # the key that your senders use',
        'destinations = ["facebook"]',
        "",
        "[destinations.facebook]",
        "# `conversions` is the format that Meta accepts today. RudderStack's destination used the `offline` format,",
        "# which Meta shut down in May 2025. The IDs below must be dataset IDs: offline event sets became datasets.",
        'api = "conversions"',
        'access_token = { env = "META_TOKEN" }',
    ]
    if config.get("valueFieldIdentifier"):
        lines.append(f"value_field = {_toml_string(str(config['valueFieldIdentifier']))}")
    if "limitedDataUSage" in config:
        lines.append(f"limited_data_usage = {str(bool(config['limitedDataUSage'])).lower()}")
    if "isHashRequired" in config:
        lines.append(f"hashing = {str(bool(config['isHashRequired'])).lower()}")
    for title, table in (("events_to_standard", standards), ("standard_to_event_sets", sets)):
        lines += ["", f"[destinations.facebook.{title}]"]
        lines += [f"{_toml_key(name)} = [{', '.join(map(_toml_string, values))}]" for name, values in table.items()]
    if categories:
        lines += ["", "[destinations.facebook.category_to_content_type]"]
        lines += [f"{_toml_key(name)} = {_toml_string(value)}" for name, value in categories.items()]
    notes = [f"# {printable(key)} has no counterpart in the gateway." for key in sorted(config) if key not in KNOWN]
    if config.get("accessToken"):
        notes.insert(0, "# The access token was left out: put it into META_TOKEN, or use { file = ... }.")
    if not sets:
        notes.insert(0, "# The export has no event sets: complete standard_to_event_sets, or nothing is uploaded.")
    return "\n".join([*lines, "", *notes, ""])


def _pairs_as_table(pairs: Any) -> dict[str, list[str]]:
    """RudderStack's list of objects with `from` and `to` as a table; incomplete objects are left out."""
    table: dict[str, list[str]] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        if not isinstance(pair, dict):
            continue
        name, value = str(pair.get("from") or "").strip(), str(pair.get("to") or "").strip()
        if name and value and value not in table.setdefault(name, []):
            table[name].append(value)
    return {name: values for name, values in table.items() if values}


def _toml_string(value: str) -> str:
    """A TOML string on one line. JSON has the same escapes; the other characters that are not printable get TOML's."""
    encoded = json.dumps(value.encode(errors="replace").decode(), ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in encoded)


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml_string(name)
