"""A file that is no TOML: the error has the line, the key, the problem, and what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ConfigError, explain_toml, load

VALUES = 'text in quotes, a number, true, false, a list [ ... ] or a table { key = "value" }'


def error_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    (line,) = str(caught.value).splitlines()
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "[server]\nport = 1\nhost = 'x'\nport = 2\nread_timeout = 3\n",
            "server.port: line 4: server.port is set twice; expected each key once",
        ),
        ("a = 1\na = 2", "a: line 2: a is set twice; expected each key once"),
        ("a = { b = 1, b = 2 }", "a: line 1: b is set twice; expected each key once"),
        (
            "[server]\nport = 1\n[server]\nhost = 'x'\n",
            "server: line 3: the table [server] exists already; expected all of its settings in one place",
        ),
        (
            "[s]\na = { b = 1 }\na.c = 2\n",
            "s.a.c: line 3: this table is set elsewhere as { ... }; expected all of it in one place",
        ),
        ("[server]\nport = yes\n", f"server.port: line 2: invalid value yes; expected {VALUES}"),
        ("[server]\nport =\n", f"server.port: line 2: invalid value (nothing); expected {VALUES}"),
        ("[a]\nb = [\n  'x',\n  yes,\n]\n", f"a.b: line 4: invalid value yes,; expected {VALUES}"),
        (
            "[server]\nport\n",
            "server: line 2: a key without a value; expected key = value, with names of ASCII letters",
        ),
        ("[server\nport = 1\n", "line 1: the name of a table does not end; expected ] after it"),
        ("a = [1", "a: line 1: a list that does not end; expected ] after its last entry"),
        (
            "a = { b = 1",
            "a: line 1: a table { ... } that does not end in its line; expected } before the end of the line",
        ),
        ("a = 'x", "a: line 1: text that does not end; expected the same quotes at its end as at its beginning"),
        (
            'a = "x\nb = 2\n',
            "a: line 1: text that does not end in its line; expected the closing quote before the line end",
        ),
        (
            'a = "C:\\Users"',
            "a: line 1: a backslash in double quotes; expected \\\\ for each, or text in single quotes",
        ),
        ("a = { b = 1, }", "a: line 1: a key is missing, or follows a comma at the end of a table; expected letters"),
        ("a = 1 b = 2", "a: line 1: unexpected text after the value 1 b = 2; expected one setting in a line"),
        ("a = 007", "a: line 1: unexpected text after the value 007; expected one setting in a line"),
        ("= 1", "line 1: this is no setting; expected key = value or [table], with names of ASCII letters"),
        ("größe = 1", "line 1: a key without a value; expected key = value, with names of ASCII letters"),
        ('a = "\x01"', "a: line 1: a control character; expected printable text"),
        ("a = " + "[" * 100_000, "lists or tables are nested too deeply; expected a few levels"),
    ],
)
def test_an_error_has_the_line_the_key_and_what_is_allowed(tmp_path: Path, text: str, error: str) -> None:
    assert error_of(tmp_path, text).startswith(error)


@pytest.mark.parametrize(
    "text",
    [
        "[admin]\ntoken = EAAB-secret\n",
        "[destinations.store]\naccess_token = EAAB-secret\n",
        "[destinations]\nstore = { access_token = EAAB-secret }\n",
        "[destinations.store]\naccess_token = 'x' EAAB-secret\n",
        "[sources.shop]\nwrite_key = [\n  EAAB-secret\n]\n",
        "destinations.store.app_secret = 007-EAAB-secret\n",
        '[alerts]\nwebhook = "EAAB-secret\n',
    ],
)
def test_a_secret_is_never_shown(tmp_path: Path, text: str) -> None:
    assert "EAAB" not in error_of(tmp_path, text)


@given(st.text(alphabet="ab=[]{}'\"\n.,# 1\\é"))
def test_every_error_of_the_parser_is_explained(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        explained = explain_toml(text, error)
        assert explained.message.startswith("line ")
        assert "expected" in explained.message
