"""Mappers of the playground. They are apart from those of ingest, so that nothing that they map is counted."""

from __future__ import annotations

import asyncio

from gateway.config import DestinationSettings, Settings
from gateway.mapping import Mapper, compile_mapper


class Mappers:
    """One mapper for each destination, compiled when it is first needed and again when its settings changed."""

    def __init__(self) -> None:
        self._mappers: dict[str, tuple[DestinationSettings, Mapper]] = {}  # those of the settings in force
        self._lock = asyncio.Lock()

    async def get(self, settings: Settings, name: str) -> Mapper:
        """The mapper of a destination of the settings. Compiling takes some hundredths of a second, in a thread."""
        async with self._lock:
            self._mappers = {known: self._mappers[known] for known in self._mappers if known in settings.destinations}
            destination = settings.destinations[name]
            known = self._mappers.get(name)
            if known is None or known[0] != destination:
                limit = settings.server.max_event_bytes
                mapper = await asyncio.to_thread(compile_mapper, name, destination, limit)
                known = self._mappers[name] = (destination, mapper)
            return known[1]
