"""From the spool to Meta: batching, rate limits, retries, circuit breakers, splitting of refused batches.

Each lane is delivered separately, and no lane waits for another. `DeliveryService` runs all lanes of a process.
"""

from gateway.delivery.quality import QualityReader
from gateway.delivery.service import DeliveryService
from gateway.delivery.transport import HttpResponse, NoResponse, Transport

__all__ = ["DeliveryService", "HttpResponse", "NoResponse", "QualityReader", "Transport"]
