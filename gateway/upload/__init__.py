"""Batches to Meta: paced, retried, split, settled. One lane never waits for another.

`Uploads` is the way in. `outcome` says what an answer means, `graph` is the only place that speaks HTTP.
"""

from gateway.upload.graph import Call, NoReply, Reply, Transport
from gateway.upload.uploads import Uploads

__all__ = ["Call", "NoReply", "Reply", "Transport", "Uploads"]
