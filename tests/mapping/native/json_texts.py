"""Generated JSON texts, valid in every notation or damaged, and the comparison of the native reader with orjson."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import orjson

from tests.mapping.native.json_examples import (
    BEYOND_ASCII,
    COMPUTED_NUMBERS,
    ESCAPES,
    EXAMPLES,
    INVALID_UTF8,
    LARGE_NUMBERS,
    LONE_SURROGATES,
    PLAIN,
    REFUSED_NUMBERS,
    SURROGATES,
)
from tests.mapping.native.probe import Probe

MAX_VALUES = 100_000
MAX_DEPTH = 64
SPACES = ("", "", "", " ", "\n", "\t", "\r\n  ")
TOKENS = (
    *('"', "\\", "{", "}", "[", "]", ":", ",", "-", "0", ".", "e", "\\u", "\\ud83d", "null", "true", "false", " "),
    *("\x00", "\x1f", "\x7f", '"":1,', '"a":[1],', '"a":{},', '"",', "\ufeff", "é", "😀"),
)


def supported_text(rng: random.Random, depth: int = 4) -> str:
    """A text that the reader has to accept."""
    space = rng.choice(SPACES)
    kind = rng.randrange(10) if depth else rng.randrange(6)
    if kind < 3:
        text = _string(rng)
    elif kind < 5:
        text = rng.choice(COMPUTED_NUMBERS) if rng.random() < 0.5 else _number(rng)
    elif kind == 5:
        text = rng.choice(["null", "true", "false"])
    elif kind < 8:
        short = rng.random() < 0.05  # more values than the reader expects in a text of this length
        values = (
            ["1"] * rng.randrange(90) if short else [supported_text(rng, depth - 1) for _ in range(rng.randrange(6))]
        )
        text = f"[{rng.choice(SPACES)}{','.join(values)}]"
    else:
        keys = {orjson.loads(key): key for key in (_string(rng) for _ in range(rng.randrange(9)))}.values()
        members = (f"{rng.choice(SPACES)}{key}{space}:{supported_text(rng, depth - 1)}" for key in keys)
        text = f"{{{','.join(members)}{space}}}"
    return f"{space}{text}{rng.choice(SPACES)}"


def _string(rng: random.Random) -> str:
    parts = PLAIN if rng.random() < 0.6 else (*PLAIN, *BEYOND_ASCII, *ESCAPES, *SURROGATES)
    return f'"{"".join(rng.choices(parts, k=rng.randrange(4)))}"'


def _number(rng: random.Random) -> str:
    """A number in one of the notations that senders write."""
    number = rng.choice([rng.random() * 10 ** rng.randrange(-5, 20), rng.randrange(10**6) / 100, rng.getrandbits(62)])
    return rng.choice(["", "-"]) + (repr(number) if rng.random() < 0.8 else f"{number:.{rng.randrange(1, 17)}e}")


def any_text(rng: random.Random) -> bytes:
    """A text that is valid, unusual or damaged."""
    text = supported_text(rng, rng.randrange(6))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(text) + 1)
        if rng.random() < 0.5:
            at = text.find('"', at) + 1  # the beginning of a string, mostly
        unusual = rng.choice([LONE_SURROGATES, LARGE_NUMBERS, REFUSED_NUMBERS, COMPUTED_NUMBERS, TOKENS, ESCAPES])
        text = text[:at] + rng.choice(unusual) + text[at + rng.choice([0, 0, 1, 2]) :]
    return damaged(rng, text.encode()) if rng.random() < 0.5 else text.encode()


def damaged(rng: random.Random, text: bytes) -> bytes:
    """The text with bytes changed, removed, repeated or cut off."""
    damage = bytearray(text)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        first, last = sorted(rng.randrange(len(damage) + 1) for _ in range(2))
        change = rng.randrange(6)
        if change == 0:
            del damage[first : first + rng.randrange(1, 4)]
        elif change == 1:
            damage[first:first] = bytes([rng.randrange(256)])
        elif change == 2 and damage:
            damage[first % len(damage)] ^= 1 << rng.randrange(8)
        elif change == 3:
            first = damage.find(b'"', first) + 1
            damage[first:first] = rng.choice(INVALID_UTF8)
        elif change == 4:
            damage[last:last] = damage[first : min(last, first + 30)]
        else:
            del damage[last:]
    return bytes(damage)


def any_limits(rng: random.Random) -> tuple[int, int]:
    """Limits of values and of depth: mostly those of `compare`, else ones that some texts exceed."""
    return (MAX_VALUES, MAX_DEPTH) if rng.random() < 0.8 else (rng.randrange(40), rng.randrange(5))


class Comparison(NamedTuple):
    """The reader and orjson for one text."""

    accepted: bool
    difference: str | None = None
    """How a text that the reader accepts differs from what orjson reads."""


def compare(probe: Probe, text: bytes, limits: tuple[int, int] = (MAX_VALUES, MAX_DEPTH)) -> Comparison:
    """Read a text by both. There is no difference where the reader gives up, whatever orjson does."""
    try:
        actual = probe.read(text, *limits)
    except NotImplementedError:
        return Comparison(accepted=False)
    except (AssertionError, UnicodeDecodeError) as error:
        return Comparison(accepted=True, difference=f"{text!r}: {error}")
    try:
        expected = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Comparison(accepted=True, difference=f"{text!r}: read as {actual!r}; orjson refuses it: {error}")
    if identical(actual, expected):
        return Comparison(accepted=True)
    return Comparison(accepted=True, difference=f"{text!r}: read as {actual!r}; orjson reads {expected!r}")


def identical(actual: Any, expected: Any) -> bool:
    """Whether two values are equal in type, sign of zero and order of keys as well."""
    if isinstance(actual, tuple):  # a number that the reader left to others
        return identical(orjson.loads(actual[0]), expected)
    if type(actual) is not type(expected):
        return False
    if isinstance(actual, dict):
        return list(actual) == list(expected) and all(identical(actual[key], expected[key]) for key in actual)
    if isinstance(actual, list):
        return len(actual) == len(expected) and all(map(identical, actual, expected))
    return repr(actual) == repr(expected)


def fault(probe: Probe, kind: str) -> str | None:
    """The first of the examples of a kind that the reader does not treat as it has to; None if there is none."""
    accepted, refused = EXAMPLES[kind]
    for text in accepted:
        comparison = compare(probe, text)
        if comparison != Comparison(accepted=True):
            return comparison.difference or f"{text!r} is not accepted"
    return next((f"{text!r} is accepted" for text in refused if compare(probe, text).accepted), None)


def random_fault(probe: Probe, texts: int, seed: int) -> str | None:
    """The first of some random texts that the reader does not treat as it has to; None if there is none."""
    rng = random.Random(seed)
    for _ in range(texts):
        text = supported_text(rng).encode()
        comparison = compare(probe, text)
        if comparison != Comparison(accepted=True):
            return comparison.difference or f"{text!r} is not accepted"
        if (difference := compare(probe, any_text(rng), any_limits(rng)).difference) is not None:
            return difference
    return None
