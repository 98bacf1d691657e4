"""The HTTP API for operators: health, readiness, metrics, status, dead letters."""

from gateway.admin.gateway import Gateway
from gateway.admin.server import AdminServer
from gateway.admin.site import Site

__all__ = ["AdminServer", "Gateway", "Site"]
