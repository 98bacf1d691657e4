"""Settings from a TOML file and the environment, typed and validated. Secrets are never printed.

`load()` reads them and reports all errors at once. Other packages use the settings when they start or reload, not for
each event.
"""

from gateway.config.loading import ConfigError, Fault, load, parse
from gateway.config.secret import Secret
from gateway.config.settings import (
    FIXED_SECTIONS,
    AdminSettings,
    AlertSettings,
    BatchSettings,
    ConsoleSettings,
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
from gateway.config.toml_errors import explain_toml
from gateway.config.transfer import settings_from_json, settings_to_json

__all__ = [
    "FIXED_SECTIONS",
    "AdminSettings",
    "AlertSettings",
    "BatchSettings",
    "ConfigError",
    "ConsoleSettings",
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
    "explain_toml",
    "load",
    "parse",
    "settings_from_json",
    "settings_to_json",
]
