"""Groups of acknowledgements: bounded in size, and one that does not fit does not hold up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.model import ChunkId
from gateway.spool import SpoolUnavailable
from gateway.spool.sqlite.connection_manager import ConnectionManager
from gateway.spool.sqlite.group_acknowledge import GROUP_BYTES, Acknowledgement, GroupAcknowledger, Results
from gateway.spool.sqlite.storage_limits import StorageLimits
from tests.spool.builders import LANE, MIB, NAME, OTHER, chunk, letter


async def test_the_size_of_a_group_is_bounded() -> None:
    groups: list[Sequence[Acknowledgement]] = []
    running: list[asyncio.Future[Results]] = []

    def run(group: Sequence[Acknowledgement]) -> asyncio.Future[Results]:
        groups.append(group)
        running.append(asyncio.get_running_loop().create_future())
        return running[-1]

    acknowledger = GroupAcknowledger(run)
    third = [letter(event=b"x" * (GROUP_BYTES // 3))]
    calls = [
        asyncio.ensure_future(acknowledger.acknowledge(Acknowledgement(LANE, [ChunkId(number)], third, None)))
        for number in range(8)
    ]
    while not all(call.done() for call in calls):
        await asyncio.sleep(0)
        if not running[-1].done():
            running[-1].set_result([None] * len(groups[-1]))
    assert [len(group) for group in groups] == [1, 3, 3, 1]
    assert [item.ids[0] for group in groups for item in group] == list(range(8))


def test_acknowledgements_that_do_not_fit_together_are_stored_one_by_one(tmp_path: Path) -> None:
    """With small spools and many lanes, the dead letters of a group may be larger than the reserve."""
    manager = ConnectionManager(StorageLimits(tmp_path / NAME, MIB, free_disk=lambda _: 2**60), lambda: 0.0)
    manager.open()
    stored = manager.do(lambda store: store.append([chunk(b"1"), chunk(b"2", lane=OTHER)], []))
    half, too_large = ([letter(event=b"x" * size)] for size in (1_200_000, 3_000_000))

    results = manager.do(
        lambda store: store.acknowledge_all(
            [
                Acknowledgement(LANE, [stored[0].id], half, None),
                Acknowledgement(LANE, [ChunkId(99)], [], None),
                Acknowledgement(OTHER, [stored[1].id], half, None),
            ]
        )
    )
    assert [type(result) for result in results] == [type(None), KeyError, type(None)]
    statistics = manager.statistics()
    assert (statistics.events, statistics.dead_letters, statistics.purged) == (0, 1, 1)

    more = manager.do(lambda store: store.append([chunk(b"3"), chunk(b"4", lane=OTHER)], []))
    results = manager.do(
        lambda store: store.acknowledge_all(
            [
                Acknowledgement(LANE, [more[0].id], too_large, None),
                Acknowledgement(OTHER, [more[1].id], [], None),
            ]
        )
    )
    assert isinstance(results[0], SpoolUnavailable)
    assert results[1] is None
    assert manager.statistics().events == 1
    with pytest.raises(SpoolUnavailable):
        manager.do(lambda store: store.acknowledge(LANE, [more[0].id], too_large, None))
    manager.close()
