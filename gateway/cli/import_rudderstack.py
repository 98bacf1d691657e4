"""`gateway import-rudderstack`."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from gateway.cli.common import fail, read_input

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
    file: Annotated[str, typer.Argument(help="The destination's configuration as JSON; - is standard input.")],
) -> None:
    """Print a gateway.toml for a RudderStack destination "Facebook Offline Conversions".

    The access token is not written: the settings name an environment variable for it.
    """
    try:
        tree = json.loads(read_input(file))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        fail(f"{file} is not JSON: {error}")
    config = _config_in(tree)
    if config is None:
        fail(f"{file} holds no configuration with eventsToIds; export the destination from RudderStack")
    typer.echo(as_toml(config), nl=False)


def _config_in(tree: Any) -> dict[str, Any] | None:
    """The object with `eventsToIds`, wherever an export has it."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "eventsToIds" in node:
                return node
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return None


def as_toml(config: dict[str, Any]) -> str:
    """The settings, with a comment where a human has to look."""
    standards = _gathered(config.get("eventsToStandard"))
    sets = _gathered(config.get("eventsToIds"))
    categories = {name: values[0] for name, values in _gathered(config.get("categoryToContent")).items()}
    lines = [
        "# Made from a RudderStack destination. What could not be taken over is said at the end.",
        "",
        "[sources.rudderstack]",
        'write_key = { env = "GATEWAY_WRITE_KEY" }   # the key that your senders use',
        'destinations = ["facebook"]',
        "",
        "[destinations.facebook]",
        "# `conversions` is what Meta accepts today; RudderStack's destination spoke the `offline` format, which Meta",
        "# ended in May 2025. The IDs below must be datasets, which offline event sets have become part of.",
        'api = "conversions"',
        'access_token = { env = "META_TOKEN" }',
    ]
    if config.get("valueFieldIdentifier"):
        lines.append(f"value_field = {_text(str(config['valueFieldIdentifier']))}")
    if "limitedDataUSage" in config:
        lines.append(f"limited_data_usage = {str(bool(config['limitedDataUSage'])).lower()}")
    if "isHashRequired" in config:
        lines.append(f"hashing = {str(bool(config['isHashRequired'])).lower()}")
    for title, table in (("events_to_standard", standards), ("standard_to_event_sets", sets)):
        lines += ["", f"[destinations.facebook.{title}]"]
        lines += [f"{_key(name)} = [{', '.join(map(_text, values))}]" for name, values in table.items()]
    if categories:
        lines += ["", "[destinations.facebook.category_to_content_type]"]
        lines += [f"{_key(name)} = {_text(value)}" for name, value in categories.items()]
    notes = [f"# {key} has no counterpart here." for key in sorted(config) if key not in KNOWN]
    if config.get("accessToken"):
        notes.insert(0, "# The access token was not written: set META_TOKEN to it, or use { file = ... }.")
    if not sets:
        notes.insert(0, "# No event set was listed: fill in standard_to_event_sets, or nothing arrives.")
    return "\n".join([*lines, "", *notes, ""])


def _gathered(pairs: Any) -> dict[str, list[str]]:
    """RudderStack's list of `from` and `to` as a table; rows without either are left out."""
    found: dict[str, list[str]] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        if not isinstance(pair, dict):
            continue
        name, value = str(pair.get("from") or "").strip(), str(pair.get("to") or "").strip()
        if name and value and value not in found.setdefault(name, []):
            found[name].append(value)
    return {name: values for name, values in found.items() if values}


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
