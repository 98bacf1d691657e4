"""HTTP API for senders: authentication, limits, decoding, and a response once the events are durable."""

from gateway.ingest.dedup import DedupWindow
from gateway.ingest.events import Mapper, Source
from gateway.ingest.listeners import ListenSockets, bind
from gateway.ingest.server import GroupCommitter, Ingest

__all__ = ["DedupWindow", "GroupCommitter", "Ingest", "ListenSockets", "Mapper", "Source", "bind"]
