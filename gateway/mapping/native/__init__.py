"""The native fast path of the mapping: a C extension for the usual events. The Python path maps all others."""

from gateway.mapping.native.loading import describe, load
from gateway.mapping.native.mapper import Document, NativeMapper, compile_native, read

__all__ = ["Document", "NativeMapper", "compile_native", "describe", "load", "read"]
