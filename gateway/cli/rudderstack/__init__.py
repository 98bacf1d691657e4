"""Conversion of RudderStack destinations to settings: reading the export, converting it, writing TOML and a report."""

from gateway.cli.rudderstack.conversion import Conversion, Effect, Row, convert
from gateway.cli.rudderstack.export import ExportedDestination, Kind, find_destinations
from gateway.cli.rudderstack.toml import as_toml

__all__ = ["Conversion", "Effect", "ExportedDestination", "Kind", "Row", "as_toml", "convert", "find_destinations"]
