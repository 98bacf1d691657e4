"""Explains why a text is not TOML: the line, the key, and what is allowed there.

`tomllib` names a position and a rule of its parser. A person who edits the file needs the key and the valid forms.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from tomllib import TOMLDecodeError

VALUES = 'text in quotes, a number, true, false, a list [ ... ] or a table { key = "value" }'
_NAMES = "names of ASCII letters, digits, '_' and '-', or in quotes"
_POSITION = re.compile(r"(?P<rule>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_HEADER = re.compile(r"\s*\[{1,2}(?P<name>[^\[\]]+)\]")
_SETTING = re.compile(r"\s*(?P<key>[A-Za-z0-9_.\s\"'-]+?)\s*=\s*(?P<value>.*)", re.DOTALL)
_MAX_SHOWN = 40
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class TomlError:
    """Where a text is not TOML, and why."""

    key: str
    """The key at that place with its table, such as `server.port`; "" if there is none."""
    message: str
    """The line and the problem; then, after a semicolon, what is allowed."""


def explain_toml(text: str, error: TOMLDecodeError, hidden: Collection[str] = ()) -> TomlError:
    """The place and the reason of an error of `tomllib`. `hidden`: keys whose values are not shown."""
    match = _POSITION.fullmatch(str(error))
    lines = text.splitlines() or [""]
    rule = match["rule"] if match else str(error)
    at = int(match["line"]) - 1 if match and match["line"] else _last_line(lines)
    line = lines[min(at, len(lines) - 1)]
    table, key, value = _statement(lines, at)
    name = ".".join(part for part in (table, key) if part)
    hidden = frozenset(hidden)
    if hidden.intersection(part.strip("\"' ") for part in name.split(".")) or hidden.intersection(_words(line)):
        value = "(not shown)"
    return TomlError(name, f"line {at + 1}: {_reason(rule, name, value)}")


def _last_line(lines: Sequence[str]) -> int:
    """The index of the last line that is not blank."""
    return next((at for at in range(len(lines) - 1, -1, -1) if lines[at].strip()), 0)


def _statement(lines: Sequence[str], at: int) -> tuple[str, str, str]:
    """The table, the key and the value of the statement that contains a line."""
    key = value = ""
    for number in range(min(at, len(lines) - 1), -1, -1):
        header = _HEADER.match(lines[number])
        if header is not None:
            return header["name"].strip(), key, value
        setting = _SETTING.match(lines[number])
        if setting is not None and not key and (number == at or _is_open(lines[number : at + 1])):
            key, value = setting["key"], (setting["value"] if number == at else lines[at]).strip()
    return "", key, value


def _is_open(lines: Sequence[str]) -> bool:
    """Whether the value that begins in the first line may reach into the last one."""
    joined = "\n".join(lines)
    return '"""' in joined or "'''" in joined or joined.count("[") > "\n".join(lines[:-1]).count("]")


def _words(line: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]+", line.partition("#")[0]))


def _reason(rule: str, name: str, value: str) -> str:
    """The problem in the words of the settings, and what is allowed."""
    shown = value if len(value) <= _MAX_SHOWN else value[: _MAX_SHOWN - 3] + "..."
    if rule.startswith("Duplicate inline table key"):
        twice = re.search(r"key '(.*)'", rule)
        return f"{twice[1] if twice else name} is set twice; expected each key once"
    reasons = {
        "Cannot overwrite a value": f"{name or 'a key'} is set twice; expected each key once",
        "Cannot declare": f"the table [{name}] exists already; expected all of its settings in one place",
        "Cannot mutate immutable namespace": "this table is set elsewhere as { ... }; expected all of it in one place",
        "Invalid value": f"invalid value {shown or '(nothing)'}; expected {VALUES}",
        "Expected '='": f"a key without a value; expected key = value, with {_NAMES}",
        "Unclosed array": "a list that does not end; expected ] after its last entry",
        "Unclosed inline table": "a table { ... } that does not end in its line; expected } before the end of the line",
        "Invalid initial character for a key part": (
            "a key is missing, or follows a comma at the end of a table; expected letters, digits, '_' or '-', or a "
            "name in quotes"
        ),
        "Unterminated string": "text that does not end; expected the same quotes at its end as at its beginning",
        'Expected "\'"': "text that does not end; expected the same quotes at its end as at its beginning",
        "Illegal character '\\n'": "text that does not end in its line; expected the closing quote before the line end",
        "Illegal character": "a control character; expected printable text, or an escape such as \\u001b",
        **dict.fromkeys(
            ("Unescaped", "Invalid hex value", "Escaped character"),
            "a backslash in double quotes; expected \\\\ for each, or text in single quotes",
        ),
        "Expected newline or end of document": (
            f"unexpected text after the value {shown or 'of the setting'}; expected one setting in a line, and "
            "values as " + VALUES
        ),
        "Invalid statement": f"this is no setting; expected key = value or [table], with {_NAMES}",
        "Expected ']": "the name of a table does not end; expected ] after it",
    }
    found = next((reason for start, reason in reasons.items() if rule.startswith(start)), None)
    return found or f"this is not TOML ({rule}); expected key = value or [table]"
