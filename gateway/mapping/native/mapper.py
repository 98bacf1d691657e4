"""The native mapper of one destination: the extension's mapper, and its counters by the names of the registry."""

from __future__ import annotations

from typing import Protocol

from gateway.mapping.compiler import Plan
from gateway.mapping.coverage import CAUSES
from gateway.mapping.native.loading import describe, load
from gateway.mapping.native.plan import NativePlan, UnsuitableError
from gateway.model import MappedRun

NOTES = ("default_value_used", "default_currency_used", "purchase_without_value")
"""Notes that the extension counts, in the order of `enum note` in src/mapping.h."""


class Document(Protocol):
    """The body of a request that the extension read. It does not change."""

    @property
    def write_key(self) -> str | None:
        """The text of `writeKey`."""

    @property
    def is_batch(self) -> bool:
        """Whether `batch` is a list."""

    @property
    def has_shared_context(self) -> bool:
        """Whether the body itself has `context` or `integrations`, as an event has, too, that is no batch."""

    @property
    def events(self) -> int:
        """Entries of `batch`; 1 without it: the body is the event."""

    @property
    def values(self) -> int:
        """Values in the body. The names of members count as values."""

    def types(self, first: int, last: int, /) -> bytes:
        """A byte for each event from `first` to `last` - 1: `TRACK`, `IGNORED`, `UNKNOWN` or `NOT_AN_OBJECT`."""

    def keys(self, source: str, first: int, last: int, /) -> list[bytes | None]:
        """The keys of events in the deduplication window (`ingest.dedup.key_of`). None without a usable message ID."""

    def event(self, index: int, /) -> bytes:
        """The JSON text of an event, as it is in the body."""

    def largest(self, first: int, last: int, /) -> tuple[int, int]:
        """Bytes of the longest event, and values of the one that has the most. Names of members count as values."""


class NativeMapper:
    """Maps the usual events of one destination. Create it with `compile_native`."""

    def __init__(self, plan: Plan, native_plan: NativePlan) -> None:
        module = load()
        if module is None:
            raise ImportError(describe())
        self._counters = plan.counters
        self._plan = native_plan
        data = native_plan.data()
        self._mapper = module.Mapper(data, native_plan.questions())

    def map(self, document: Document, selected: bytes, now: int, first: int = 0) -> tuple[list[MappedRun], list[int]]:
        """Map the event `first + i` of a document where `selected[i]` is not zero. `now` is in unix seconds.

        Returns a run for each lane, and in ascending order the indices of the selected events that the Python path has
        to map. Nothing was counted for those.
        """
        mapped: tuple[list[MappedRun], list[int]] = self._mapper.map(document, selected, now, first)
        return mapped

    def count(self) -> None:
        """Add what was counted since the last call to the counters of the destination."""
        notes, dropped, seen = self._mapper.take_counters()
        counters = self._counters
        for note, count in zip(NOTES, notes, strict=True):
            if count:
                counters.notes[note] += count
        causes = tuple(CAUSES)
        for field, cause, count in dropped:
            counters.dropped[self._plan.fields[field].name, causes[cause]] += count
        for mask, count in seen:
            self._plan.count_seen(mask, count)


def compile_native(plan: Plan) -> NativeMapper | str:
    """The native mapper of a destination, or why the Python path maps all of its events."""
    module = load()
    if module is None:
        return describe()
    try:
        return NativeMapper(plan, NativePlan(module, plan))
    except UnsuitableError as reason:
        return f"python ({reason})"
    except OverflowError as reason:  # the extension's own limits, such as the number of event sets
        return f"python ({reason})"


def read(body: bytes, max_values: int, max_depth: int) -> Document | None:
    """Read the body of a request. None: the Python path has to read it, because it is unusual or no JSON object.

    `max_values` counts names of members as well; `max_depth` is in levels of objects and lists.
    """
    module = load()
    if module is None:
        return None
    document: Document | None = module.read(body, max_values, max_depth)
    return document
