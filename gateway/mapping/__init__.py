"""Mapping of source events to Meta's events, by one compiled function for each destination. No I/O, no clock.

`compile_mapper` is the entry point. `fields` is the registry from which the compiled functions, the documentation and
`explain` are derived.
"""

from gateway.mapping.dialects import expires_at
from gateway.mapping.encodable import make_encodable
from gateway.mapping.mapper import Mapper, compile_mapper
from gateway.mapping.rejections import REJECTIONS
from gateway.mapping.routes import Route, routes_of

__all__ = ["REJECTIONS", "Mapper", "Route", "compile_mapper", "expires_at", "make_encodable", "routes_of"]
