"""The HTTP face for senders: authentication, limits, decoding, and an answer once everything is durable."""

from gateway.ingest.calls import Mapper, Source
from gateway.ingest.repeats import Repeats
from gateway.ingest.server import Ingest, Intake

__all__ = ["Ingest", "Intake", "Mapper", "Repeats", "Source"]
