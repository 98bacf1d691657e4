"""Offline Conversions Gateway: track calls in, full and correctly hashed batches out to Meta."""

__version__ = "0.1.0"
