"""Offline Conversions Gateway: receives track calls over HTTP and uploads them to Meta in full, hashed batches."""

__version__ = "0.1.0"
