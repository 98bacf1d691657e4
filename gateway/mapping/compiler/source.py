"""The text of a function while it is written: lines, the objects that are open, and the names that it may use.

Most events have a few keys of an object and none of their many other spellings. So an object is asked once whether it
has any of its *rare* keys, those that are not listed in `USUAL`; where it has none, nobody looks for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_TRAITS = frozenset({"email", "phone", "gender", "birthday", "firstName", "lastName", "address"})
_ADDRESS = frozenset({"city", "state", "postalCode", "country"})

USUAL: Mapping[str, frozenset[str]] = {
    "traits": _TRAITS,
    "context.traits": _TRAITS,
    "traits.address": _ADDRESS,
    "context.traits.address": _ADDRESS,
    "context": frozenset({"traits"}),
    "properties": frozenset({"total", "price", "value", "currency", "order_id", "products"}),
}
"""Keys that are looked for in every event. Any other is asked for only where an object has one of the others."""


class SourceBuilder:
    """A function `name(event, now)` in the making."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.names: dict[str, Any] = {"EMPTY": {}}
        """What the text may name."""
        self._lines: list[str] = []
        self._indent = 2
        self._open: dict[str, str] = {"": "event"}  # source path of an object -> the variable that holds it
        self._rare: dict[str, set[str]] = {}  # source path of an object -> its rare keys that somebody asks for

    def source(self) -> str:
        """The whole text. An event at which it fails goes to `again`."""
        for path, keys in self._rare.items():
            self.names[f"NONE_RARE_IN_{_identifier(path)}"] = frozenset(keys).isdisjoint
        head = [f"def {self.name}(event, now):", "    try:"]
        tail = [
            "    except (AttributeError, TypeError, ValueError, RecursionError):",
            "        return next_path(event, now)",
            "",
        ]
        return "\n".join([*head, *self._lines, *tail])

    def add(self, text: str) -> None:
        """Write lines at the depth of the block."""
        self._lines += [" " * 4 * self._indent + line if line.strip() else "" for line in text.strip("\n").split("\n")]

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """A line that opens a block, and what follows in it."""
        self.add(opening)
        self._indent += 1
        yield
        self._indent -= 1

    def open_all(self, paths: Iterable[str]) -> None:
        """Fetch the objects at these paths, parents first. What is no object is an empty one, and counted unless blank.

        What is inside of an object that is not there is not looked for.
        """
        steps = [path.split(".") for path in paths if path]
        integration = {tuple(path[:depth]) for path in steps for depth in range(1, len(path) + 1)}
        self._open_inside((), sorted(integration))

    def _open_inside(self, parent: tuple[str, ...], integration: Sequence[tuple[str, ...]]) -> None:
        for steps in integration:
            if steps[:-1] != parent:
                continue
            path = ".".join(steps)
            got = self.get(path)
            variable = self._open[path] = f"o_{_identifier(path)}"
            self._rare[path] = set()
            inner = [one for one in integration if len(one) > len(steps) and one[: len(steps)] == steps]
            absent = [name for one in inner for name in (f"o_{_identifier('.'.join(one))}", self._flag(".".join(one)))]
            self.add(
                f"""
{variable} = {got}
if {variable}.__class__ is not dict:
    {variable} = EMPTY if {variable} is None else as_object({variable})
"""
            )
            with self.block(f"if {variable}:"):
                self.add(f"{self._flag(path)} = not NONE_RARE_IN_{_identifier(path)}({variable})")
                self._open_inside(steps, integration)
            with self.block("else:"):
                self.add(" = ".join([self._flag(path), *absent, "EMPTY"]))

    def open(self, path: str) -> str:
        """The variable of the object at a path, which `open_all` has fetched; "" is the event."""
        return self._open[path]

    def get(self, path: str) -> str:
        """The expression of a value at a path."""
        parent, _, leaf = path.rpartition(".")
        holder = self.open(parent)
        if self._is_usual(parent, leaf):
            return f"{holder}.get({leaf!r})"
        return f"{holder}.get({leaf!r}) if {self._flag(parent)} else None"

    def flag(self, *paths: str) -> str:
        """The expression of whether any of these may be there; for a guard around what only they need."""
        guards = dict.fromkeys(self._guard(*self._parts(path)) for path in paths)
        return " or ".join(guards)

    def chain(self, variable: str, paths: Sequence[str]) -> None:
        """`variable` becomes the first value that is not null."""
        if not paths:
            self.add(f"{variable} = None")
            return
        self.add(f"{variable} = {self.get(paths[0])}")
        if len(paths) == 1:
            return
        with self.block(f"if {variable} is None:"):
            self._rest_of_chain(variable, paths[1:])

    def _rest_of_chain(self, variable: str, paths: Iterable[str]) -> None:
        grouped = itertools.groupby(map(self._parts, paths), key=lambda parts: (parts[0], self._guard(*parts)))
        for number, ((parent, guard), run) in enumerate(grouped):
            conditions = ([f"{variable} is None"] if number else []) + ([guard] if guard else [])
            with self.block(f"if {' and '.join(conditions) or 'True'}:"):
                for position, (_, leaf) in enumerate(run):
                    got = f"{variable} = {self.open(parent)}.get({leaf!r})"
                    self.add(f"if {variable} is None: {got}" if position else got)

    def _parts(self, path: str) -> tuple[str, str]:
        parent, _, leaf = path.rpartition(".")
        return parent, leaf

    def _guard(self, parent: str, leaf: str) -> str:
        """A variable that is true where the value may be there; "" for a key of the event itself."""
        if not parent:
            return ""
        return self._open[parent] if self._is_usual(parent, leaf) else self._flag(parent)

    def _is_usual(self, parent: str, leaf: str) -> bool:
        if not parent or leaf in USUAL.get(parent, ()):
            return True
        self._rare[parent].add(leaf)
        return False

    def _flag(self, path: str) -> str:
        return f"r_{_identifier(path)}"


def _identifier(path: str) -> str:
    """A name for a path; two paths never share one."""
    return "_".join(
        "".join(char if char.isalnum() and char.isascii() else f"{ord(char):x}" for char in step)
        for step in path.split(".")
    )
