"""The HTTP face for operators: health, readiness, metrics, status, dead letters."""

from gateway.admin.server import Admin
from gateway.admin.status import Status

__all__ = ["Admin", "Status"]
