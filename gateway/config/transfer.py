"""Validated settings as JSON for another process of the same gateway, with the secrets as they were read.

The other process must not resolve secrets again: a file or an environment variable may have changed meanwhile.
"""

from __future__ import annotations

from typing import Any

from gateway.config.secret import Secret
from gateway.config.settings import Settings
from gateway.model import JsonObject

_SECRET_KEYS = frozenset({"$secret", "env", "file"})


def settings_to_json(settings: Settings) -> JsonObject:
    """All settings as JSON types. The result contains the secrets in plain text."""
    return settings.model_dump(mode="json", fallback=_secret_to_json)


def settings_from_json(tree: JsonObject) -> Settings:
    """The settings from the result of `settings_to_json`."""
    return Settings.model_validate(_with_secrets(tree))


def _secret_to_json(value: Any) -> JsonObject:
    if not isinstance(value, Secret):
        raise TypeError(f"cannot encode {type(value).__name__}")
    text, env, file = value.parts
    return {"$secret": text, "env": env, "file": file}


def _with_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == _SECRET_KEYS:
            return Secret(value["$secret"], env=value["env"], file=value["file"])
        return {key: _with_secrets(item) for key, item in value.items()}
    return [_with_secrets(item) for item in value] if isinstance(value, list) else value
