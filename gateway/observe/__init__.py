"""What the gateway tells: counts, metrics, logs. Only `metrics` knows prometheus; rooms count in a `Ledger`."""

from gateway.observe.histogram import Histogram
from gateway.observe.ledger import LaneAccount, Ledger

__all__ = ["Histogram", "LaneAccount", "Ledger"]
