"""Encodings, compression, NDJSON, Parquet, and which files are meant."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.importer.inputs import check_unchanged, expand, fingerprint, format_of, locked
from gateway.model import GatewayError
from tests.importer.files import HEADER, calls, codes, plan, results, rows, sale, write


def encoded(folder: Path, encoding: str, name: str = "sales.csv") -> str:
    path = folder / name
    path.write_bytes(f"{HEADER}\n{sale(1, order_id='Grüße')}\n".encode(encoding))
    return str(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_an_encoding_with_a_byte_order_mark_is_recognised(tmp_path: Path, encoding: str) -> None:
    assert calls(encoded(tmp_path, encoding))[0]["properties"]["order_id"] == "Grüße"


def test_another_encoding_is_refused_with_the_line_until_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes("\n".join([HEADER, sale(1), sale(2, order_id="Grüße"), sale(3)]).encode("latin-1"))
    with pytest.raises(GatewayError, match=r"sales.csv, line 3: an invalid byte for UTF-8.*--encoding cp1252"):
        plan(str(path))
    assert calls(str(path), encoding="latin-1")[1]["properties"]["order_id"] == "Grüße"


def test_utf_16_without_a_byte_order_mark_is_refused_until_it_is_given(tmp_path: Path) -> None:
    name = encoded(tmp_path, "utf-16-le")
    with pytest.raises(GatewayError, match="probably UTF-16 without a byte order mark"):
        plan(name)
    assert codes(name, encoding="utf-16-le") == ["sent"]


def test_gzip_is_recognised_by_its_content_also_in_several_parts(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{sale(1)}\n".encode()) + gzip.compress(f"{sale(2)}\n".encode()))
    assert codes(str(path)) == ["sent", "sent"]


def test_gzip_that_is_cut_off_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *map(sale, range(500))]).encode())[:-20])
    with pytest.raises(GatewayError, match="the compression is damaged or cut off"):
        plan(str(path))


def test_zstd_is_read_with_pyarrow(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "sales.csv.zst"
    codec = pa.Codec("zstd")
    path.write_bytes(codec.compress(f"{HEADER}\n{sale(1)}\n".encode(), asbytes=True))
    assert codes(str(path)) == ["sent"]


def test_without_pyarrow_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = tmp_path / "sales.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(GatewayError, match=r"pip install 'offline-conversions-gateway\[pyarrow\]'"):
        plan(str(path))


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "sales.parquet"
    at = dt.datetime(2026, 11, 1, 10, tzinfo=dt.UTC)
    table = pa.table(
        {
            "email": ["a@example.com", "b@example.com"],
            "event_time": [at, None],
            "value": [12.5, None],
            "dob": [dt.date(1980, 3, 31), None],
            "order_id": [1, 2],
        }
    )
    parquet.write_table(table, path)
    assert codes(str(path)) == ["sent", "no_event_time"]
    call = results(str(path))[0]
    assert isinstance(call, dict)
    assert call["originalTimestamp"] == "2026-11-01T10:00:00+00:00"
    assert call["context"]["traits"] == {"email": "a@example.com", "birthday": "1980-03-31"}
    assert call["properties"] == {"total": 12.5, "order_id": "1"}


def ndjson(folder: Path, *documents: Any) -> str:
    path = folder / "sales.ndjson"
    path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in documents))
    return str(path)


def test_ndjson_rows_have_their_keys_as_columns(tmp_path: Path) -> None:
    name = ndjson(
        tmp_path,
        {"customer": {"email": "a@example.com"}, "event_time": 1793527200, "value": 9, "order_id": 7},
        "{broken",
        "[1]",
        "",
        {"customer": {"email": "b@example.com"}, "event_time": None, "value": 9},
    )
    Path(f"{name}.toml").write_text(
        '[columns]\nemail = "customer.email"\nevent_time = "event_time"\nvalue = "value"\norder_id = "order_id"'
    )
    assert codes(name) == ["sent", "invalid_json", "not_an_object", "no_event_time"]
    assert [row.line for row in rows(name)] == [1, 2, 3, 5]


def test_ndjson_of_calls_is_passed_on_with_message_ids(tmp_path: Path) -> None:
    call = {"type": "track", "event": "Order Completed", "properties": {"total": 9}, "context": {}}
    first, second = calls(ndjson(tmp_path, call, {**call, "messageId": "mine"}))
    assert first.pop("messageId").startswith("backfill-")
    assert first == call
    assert second["messageId"] == "mine"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "csv"), ("a.CSV.gz", "csv"), ("a.tsv", "tsv"), ("a.jsonl.zst", "ndjson"), ("b.parquet", "parquet")],
)
def test_the_format_is_that_of_the_name(name: str, expected: str) -> None:
    assert format_of(name) == expected


@pytest.mark.parametrize("name", ["-", "sales", "sales.gz", "sales.xlsx"])
def test_a_name_that_says_no_format_is_refused(name: str) -> None:
    with pytest.raises(GatewayError, match="give it with --format"):
        format_of(name)


def test_patterns_are_expanded_and_each_file_is_meant_once(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "b.csv.rejected.csv"):
        (tmp_path / name).write_text("")
    expected = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert expand([str(tmp_path / "*.csv")]) == expected
    assert expand([*expected, str(tmp_path / "b.csv.rejected.csv"), expected[0]]) == expected
    assert expand([str(tmp_path / "b.csv.rejected.csv")]) == [str(tmp_path / "b.csv.rejected.csv")]
    with pytest.raises(GatewayError, match="no file matches"):
        expand([str(tmp_path / "*.tsv")])


def test_a_file_is_locked_while_it_is_imported(tmp_path: Path) -> None:
    name = write(tmp_path)
    with locked(name), pytest.raises(GatewayError, match="another process is importing this file"), locked(name):
        pass


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1))
    before = fingerprint(name)
    check_unchanged(name, before)
    write(tmp_path, sale(1), sale(2))
    with pytest.raises(GatewayError, match="changed while it was read"):
        check_unchanged(name, before)
