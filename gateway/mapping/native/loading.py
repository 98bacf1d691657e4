"""Loads the native extension, where it was built and is not switched off by `GATEWAY_NATIVE=off`."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType
from typing import NamedTuple

SWITCH = "GATEWAY_NATIVE"
OFF = frozenset({"off", "0", "false", "no"})


class Extension(NamedTuple):
    """The native extension, or why there is none."""

    module: ModuleType | None
    description: str
    """Which path maps events, for operators."""


@cache
def extension() -> Extension:
    """The extension of this process. It is looked for only once."""
    switch = os.environ.get(SWITCH, "")
    if switch.lower() in OFF:
        return Extension(None, f"python ({SWITCH}={switch})")
    try:
        module = importlib.import_module("gateway.mapping.native._native")
    except ModuleNotFoundError:
        return Extension(None, "python (the native extension was not built)")
    except ImportError as error:  # built for another platform, for example
        return Extension(None, f"python (the native extension cannot be loaded: {error})")
    return Extension(module, f"native ({module.SHA256})")


def load() -> ModuleType | None:
    """The extension, or None where the Python path maps all events."""
    return extension().module


def describe() -> str:
    """Which path maps events: `native (SHA-NI)`, `python (GATEWAY_NATIVE=off)` and so on."""
    return extension().description
