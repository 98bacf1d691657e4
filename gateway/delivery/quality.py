"""Reads Meta's Dataset Quality when somebody asks for it, and keeps it for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.config import DestinationSettings
from gateway.delivery.transport import HttpTransport, NoResponse, Transport
from gateway.meta import (
    AccessToken,
    DatasetQuality,
    is_token_refused,
    quality_requests,
    read_counts,
    read_scores,
)
from gateway.model import UnixSeconds

log = logging.getLogger("gateway.delivery")

KEPT_SECONDS = 900.0
"""Seconds for which scores are kept. Meta computes them once a day."""
RETRY_SECONDS = 60.0
"""Seconds for which an error is kept."""
WAIT_SECONDS = 5.0
"""Seconds that a caller waits for Meta. What arrives later is there for the next call."""
MAX_CONCURRENT = 4
MAX_DATASETS = 200
"""Datasets that are asked for; those of further destinations are left out."""

Dataset = tuple[str, str]
"""Name of the destination, and ID of the dataset."""


@dataclass(frozen=True, slots=True)
class _Connection:
    """What is needed to ask for the datasets of one destination."""

    settings: DestinationSettings
    token: AccessToken
    transport: Transport


class QualityReader:
    """The quality of all datasets of the settings."""

    def __init__(
        self,
        destinations: Mapping[str, DestinationSettings],
        *,
        transport: Callable[[DestinationSettings], Transport] = HttpTransport,
        clock: Callable[[], UnixSeconds] = time.time,
    ) -> None:
        self._new_transport = transport
        self._clock = clock
        # Only the loop's thread changes these.
        self._connections = {name: self._connection(name, settings) for name, settings in destinations.items()}
        self._read: dict[Dataset, DatasetQuality] = {}
        self._reading: dict[Dataset, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def read(self) -> Sequence[DatasetQuality]:
        """The quality of each dataset, at most 15 minutes old. Errors are in the results."""
        datasets = self._datasets()
        for dataset in datasets:
            task = self._reading.get(dataset)
            if (task is None or task.done()) and not self._is_fresh(dataset):
                self._reading[dataset] = asyncio.create_task(self._ask(dataset), name="read dataset quality")
        if waiting := [task for task in self._reading.values() if not task.done()]:
            await asyncio.wait(waiting, timeout=WAIT_SECONDS)
        return [self._read.get(dataset) or self._unanswered(dataset) for dataset in datasets]

    async def reload(self, destinations: Mapping[str, DestinationSettings]) -> None:
        """Use other settings, and forget what was read for destinations that changed."""
        for name, connection in list(self._connections.items()):
            if destinations.get(name) != connection.settings:
                del self._connections[name]
                await _cancel([self._reading.pop(dataset) for dataset in list(self._reading) if dataset[0] == name])
                self._read = {dataset: quality for dataset, quality in self._read.items() if dataset[0] != name}
                await connection.transport.close()
        kept = self._connections
        self._connections = {
            name: kept.get(name) or self._connection(name, settings) for name, settings in destinations.items()
        }

    async def close(self) -> None:
        """Cancel all calls, and close the connections."""
        await _cancel(list(self._reading.values()))
        for connection in self._connections.values():
            await connection.transport.close()

    def _connection(self, name: str, settings: DestinationSettings) -> _Connection:
        return _Connection(settings, AccessToken(settings.access_token, name), self._new_transport(settings))

    def _datasets(self) -> Sequence[Dataset]:
        datasets = {
            (name, event_set): None
            for name, connection in self._connections.items()
            for event_sets in connection.settings.standard_to_event_sets.values()
            for event_set in event_sets
        }
        return list(datasets)[:MAX_DATASETS]

    def _is_fresh(self, dataset: Dataset) -> bool:
        quality = self._read.get(dataset)
        if quality is None:
            return False
        return self._clock() - quality.read_at < (KEPT_SECONDS if quality.error is None else RETRY_SECONDS)

    def _unanswered(self, dataset: Dataset) -> DatasetQuality:
        return DatasetQuality(*dataset, self._clock(), error="Meta has not answered yet. Look again in a few seconds.")

    async def _ask(self, dataset: Dataset) -> None:
        destination, event_set = dataset
        connection = self._connections[destination]
        try:
            async with self._slots:
                quality = await self._ask_once(connection, destination, event_set)
        except NoResponse as error:
            quality = DatasetQuality(*dataset, self._clock(), error=f"Meta cannot be reached ({error.code}).")
        except Exception:
            log.exception("Meta's dataset quality cannot be read because of an internal error")
            quality = DatasetQuality(*dataset, self._clock(), error="The gateway failed; its log has the details.")
        self._read[dataset] = quality

    async def _ask_once(self, connection: _Connection, destination: str, event_set: str) -> DatasetQuality:
        token = connection.token.current
        for_scores, for_counts = quality_requests(connection.settings, event_set, token)
        response = await connection.transport.send(for_scores)
        if is_token_refused(response.status, response.body) and await connection.token.refresh(token):
            for_scores, for_counts = quality_requests(connection.settings, event_set, connection.token.current)
            response = await connection.transport.send(for_scores)
        scores = read_scores(response.status, response.body)
        counted = await connection.transport.send(for_counts)
        counts = read_counts(counted.status, counted.body)
        if isinstance(scores, str):
            return DatasetQuality(destination, event_set, self._clock(), counts=counts, error=scores)
        offline, web = scores
        return DatasetQuality(destination, event_set, self._clock(), offline, web, counts)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
