"""What a pure function gave, for values that repeat: bounded, and one lookup where it is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_KEY = 64
"""Characters of a text beyond which its result is not kept."""


class MemoCache(dict[Key, Value], Generic[Key, Value]):
    """`remembered[key]` is `make(key)`. When it is full it starts afresh, which costs less than an order of use.

    A key is a text, or a tuple that begins with one.
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
