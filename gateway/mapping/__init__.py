"""From a source event to what Meta takes: one compiled function for each destination. No I/O, no clock, no HTTP.

`compile_mapper` is the way in. `fields` is the table that everything here is made of.
"""

from gateway.mapping.dialects import expires_at
from gateway.mapping.mapper import Mapper, compile_mapper, make_encodable
from gateway.mapping.rejections import REJECTIONS
from gateway.mapping.routes import Route, routes_of

__all__ = ["REJECTIONS", "Mapper", "Route", "compile_mapper", "expires_at", "make_encodable", "routes_of"]
