"""The HTTP face for senders: authentication, limits, decoding, and an answer once everything is durable."""

from gateway.ingest.calls import Mapper, Source
from gateway.ingest.repeats import Repeats
from gateway.ingest.server import Ingest, Intake
from gateway.ingest.sockets import Bound, bind

__all__ = ["Bound", "Ingest", "Intake", "Mapper", "Repeats", "Source", "bind"]
