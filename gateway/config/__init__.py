"""The settings: one TOML file with the environment on top, typed and validated, secrets never printed.

`load()` is the way in. A settings file with ten mistakes names all ten. Nothing here is read while an event is on its
way: the rooms take what they need at start-up.
"""

from gateway.config.loading import ConfigError, Fault, load, parse
from gateway.config.secret import Secret
from gateway.config.settings import (
    AdminSettings,
    AlertSettings,
    BatchSettings,
    DestinationSettings,
    LogFormat,
    LoggingSettings,
    LogLevel,
    ServerSettings,
    Settings,
    SourceSettings,
    SpoolEngine,
    SpoolSettings,
    TokenPlace,
    UploadSettings,
)
from gateway.config.transfer import settings_from_json, settings_to_json

__all__ = [
    "AdminSettings",
    "AlertSettings",
    "BatchSettings",
    "ConfigError",
    "DestinationSettings",
    "Fault",
    "LogFormat",
    "LogLevel",
    "LoggingSettings",
    "Secret",
    "ServerSettings",
    "Settings",
    "SourceSettings",
    "SpoolEngine",
    "SpoolSettings",
    "TokenPlace",
    "UploadSettings",
    "load",
    "parse",
    "settings_from_json",
    "settings_to_json",
]
