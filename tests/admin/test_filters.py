"""A filter selects exactly what it says, or is refused: a malformed one never selects more."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from gateway.admin.dead_letters import BadQuery, parse_filter
from gateway.model import DeadLetter, Lane, Stage
from gateway.spool import create_spool
from tests.admin.admin_port import LANE, NOW, admin_port, letter
from tests.admin.admin_port import settings as gateway_settings

LETTERS = [
    letter(1),
    letter(2, code="other", at=NOW - 1000, message_id="m1"),
    letter(3, lane=LANE._replace(event_set="7"), at=0.0),
    letter(4, stage=Stage.MAPPING, code="unmapped_event", lane=None, source="shop"),
    letter(5, stage=Stage.EXPIRED, destination="legacy", lane=Lane("legacy", "7", "t"), at=NOW + 0.5),
    letter(6, code="", destination="", lane=Lane("", "", "")),
]


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    "value",
    [
        *(
            "nan",
            "NaN",
            "inf",
            "-inf",
            "Infinity",
            "1e5",
            "1e300",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1_0",
            "",
            ".5",
            "5.",
            "0x10",
        ),
        *("1" * 400, "1772366400000", "١٢٣", "1,5", "1\x00", "null"),
    ],
)
async def test_a_time_that_is_no_finite_number_of_seconds_is_refused(tmp_path: Path, name: str, value: str) -> None:
    async with admin_port(tmp_path) as port:
        await port.spool.append([], LETTERS)
        for method, path in (
            ("GET", "/dead-letters"),
            ("POST", "/dead-letters/discard"),
            ("POST", "/dead-letters/replay"),
        ):
            reply = await port.request(method, f"{path}?{name}={quote(value)}")
            assert (reply.status, reply.json["code"]) == (400, "bad_query"), value
            assert f"`{name}`" in reply.json["message"]
        assert len(await port.spool.dead_letters()) == len(LETTERS)


@pytest.mark.parametrize("value", ["0", "1772366400", "1772366400.5", "99999999999.999999999"])
def test_unix_seconds_are_accepted(value: str) -> None:
    assert parse_filter({"since": value}).since == float(value)


@pytest.mark.parametrize(
    "query",
    [
        "code=event_refused&code=other",
        "since=5&since=1",
        "code=",
        "destination",
        "code=%00",
        "event_set=7%00",
        "Code=other",
        "codes=other",
        "code%00=other",
        "=other",
        "number=1",
        "after=1",
        "stage=",
        "stage=Upload",
    ],
)
async def test_a_parameter_that_is_unknown_repeated_or_no_text_is_refused(tmp_path: Path, query: str) -> None:
    async with admin_port(tmp_path) as port:
        await port.spool.append([], LETTERS)
        reply = await port.post(f"/dead-letters/discard?{query}")
        assert (reply.status, reply.json["code"]) == (400, "bad_query")
        assert len(await port.spool.dead_letters()) == len(LETTERS)


@pytest.mark.parametrize("target", ["/dead-letters/discard?code=\xff", "/dead-letters/discard?event_set=\xff"])
async def test_bytes_that_are_not_utf_8_select_nothing(tmp_path: Path, target: str) -> None:
    async with admin_port(tmp_path, engine="sqlite") as port:
        await port.spool.append([], LETTERS)
        reply = await port.send(
            b"POST " + target.encode("latin-1") + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert reply.status == 400 or reply.json == {"letters": 0}
        assert len(await port.spool.dead_letters()) == len(LETTERS)


def matches(pairs: list[tuple[str, str]], dead_letter: DeadLetter) -> bool:
    """The meaning of a query, written anew: every parameter must hold."""
    values: dict[str, Any] = {
        "code": dead_letter.code,
        "destination": dead_letter.destination,
        "event_set": dead_letter.lane.event_set if dead_letter.lane else None,
        "stage": dead_letter.stage.value,
        "message_id": dead_letter.message_id,
        "order_id": dead_letter.order_id,
    }
    return all(
        dead_letter.at >= float(value)
        if name == "since"
        else dead_letter.at < float(value)
        if name == "until"
        else values[name] == value
        for name, value in pairs
    )


TEXT = st.text(max_size=4) | st.sampled_from(
    ["event_refused", "other", "store", "legacy", "7", LANE.event_set, "upload", "m1", "o2"]
)
NUMBER = st.floats().map(str) | st.integers().map(str) | st.sampled_from([str(NOW), str(NOW - 1000), "0"]) | TEXT
PARAMETER = st.one_of(
    st.tuples(st.sampled_from(["code", "destination", "event_set", "message_id", "order_id"]), TEXT),
    st.tuples(st.just("stage"), st.sampled_from(["mapping", "upload", "expired"]) | TEXT),
    st.tuples(st.sampled_from(["since", "until"]), NUMBER),
    st.tuples(TEXT, TEXT),
)
QUERY = st.one_of(
    st.lists(PARAMETER, max_size=4).map(
        lambda pairs: "&".join(
            f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in pairs
        )
    ),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=30),
)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_query_is_refused_or_selects_what_a_plain_filter_selects(tmp_path: Path, engine: str) -> None:
    spool = create_spool(gateway_settings(tmp_path, engine).spool, lambda: NOW)
    await spool.open()
    await spool.append([], LETTERS)
    queries: list[str] = []

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(QUERY)
    def collect(query: str) -> None:
        queries.append(query)

    collect()
    accepted = 0
    for query in queries:
        try:
            where = parse_filter(URL.build(path="/", query_string=query, encoded=True).query)
        except BadQuery:
            continue
        accepted += 1
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
        expected = [dead_letter for dead_letter in LETTERS if matches(pairs, dead_letter)]
        assert [found for _, found in await spool.dead_letters(0, 100, where)] == expected, query
    assert accepted > len(queries) / 50
    await spool.close()
