"""A bounded cache of the results of a pure function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_KEY = 64
"""Characters of the longest text whose result is stored."""


class MemoCache(dict[Key, Value], Generic[Key, Value]):
    """`cache[key]` is `make(key)`. A stored result costs one lookup.

    A key is a text, or a tuple that begins with one. A full cache is cleared: this is cheaper than to keep the entries
    in the order of their use.
    """

    __slots__ = ("_make", "_maximum")

    def __init__(self, make: Callable[[Key], Value], maximum: int) -> None:
        super().__init__()
        self._make = make
        self._maximum = maximum

    def __missing__(self, key: Key) -> Value:
        value = self._make(key)
        text: Any = key[0] if isinstance(key, tuple) else key
        if len(text) <= MAX_KEY:
            if len(self) >= self._maximum:
                self.clear()
            self[key] = value
        return value
