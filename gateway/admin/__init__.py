"""The HTTP face for operators: health, readiness, metrics, status, dead letters."""

from gateway.admin.gateway import Gateway
from gateway.admin.server import Admin

__all__ = ["Admin", "Gateway"]
