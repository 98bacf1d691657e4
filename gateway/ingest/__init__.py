"""The HTTP face for senders: authentication, limits, decoding, and an answer once everything is durable."""

from gateway.ingest.calls import Mapper, Source
from gateway.ingest.repeats import Repeats
from gateway.ingest.server import GroupCommitter, Ingest
from gateway.ingest.sockets import Bound, bind

__all__ = ["Bound", "GroupCommitter", "Ingest", "Mapper", "Repeats", "Source", "bind"]
