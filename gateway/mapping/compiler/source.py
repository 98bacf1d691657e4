"""Builder of the generated source: the lines, the variables of fetched objects, and the names that the source uses.

The registry has many paths for each field, and most events have only a few of their keys. Therefore the generated code
checks once for each object whether it has any *rare* key, one that is not in `USUAL`. If it has none, the code looks up
no rare key in it.
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
"""Keys, by object, that are looked up in every event. The others are rare keys."""


class SourceBuilder:
    """Builds the source of a function `name(event, now)`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.names: dict[str, Any] = {"EMPTY": {}}
        """The global names of the source."""
        self._lines: list[str] = []
        self._indent = 2
        self._open: dict[str, str] = {"": "event"}  # source path of an object -> the variable that holds it
        self._rare: dict[str, set[str]] = {}  # source path of an object -> its rare keys that are looked up

    def source(self) -> str:
        """The complete source. When it fails for an event, it calls `next_path`."""
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
        """Add lines, indented for the current block."""
        self._lines += [" " * 4 * self._indent + line if line.strip() else "" for line in text.strip("\n").split("\n")]

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Add a line that opens a block. Lines that are added within the context are in the block."""
        self.add(opening)
        self._indent += 1
        yield
        self._indent -= 1

    def open_all(self, paths: Iterable[str]) -> None:
        """Add the code that fetches the objects at these paths, parents first.

        A value of another type is replaced by an empty object, and counted unless it is blank. If an object is empty,
        the objects inside it are not looked up.
        """
        steps = [path.split(".") for path in paths if path]
        objects = {tuple(path[:depth]) for path in steps for depth in range(1, len(path) + 1)}
        self._open_inside((), sorted(objects))

    def _open_inside(self, parent: tuple[str, ...], objects: Sequence[tuple[str, ...]]) -> None:
        for steps in objects:
            if steps[:-1] != parent:
                continue
            path = ".".join(steps)
            value = self.get(path)
            variable = self._open[path] = f"o_{_identifier(path)}"
            self._rare[path] = set()
            inner = [".".join(other) for other in objects if len(other) > len(steps) and other[: len(steps)] == steps]
            absent = [name for other in inner for name in (f"o_{_identifier(other)}", self._flag(other))]
            self.add(
                f"""
{variable} = {value}
if {variable}.__class__ is not dict:
    {variable} = EMPTY if {variable} is None else as_object({variable})
"""
            )
            with self.block(f"if {variable}:"):
                self.add(f"{self._flag(path)} = not NONE_RARE_IN_{_identifier(path)}({variable})")
                self._open_inside(steps, objects)
            with self.block("else:"):
                self.add(" = ".join([self._flag(path), *absent, "EMPTY"]))

    def open(self, path: str) -> str:
        """The variable of the object at a path, which `open_all` has fetched. The path "" is the event."""
        return self._open[path]

    def get(self, path: str) -> str:
        """The expression of the value at a path."""
        parent, _, leaf = path.rpartition(".")
        holder = self.open(parent)
        if self._is_usual(parent, leaf):
            return f"{holder}.get({leaf!r})"
        return f"{holder}.get({leaf!r}) if {self._flag(parent)} else None"

    def flag(self, *paths: str) -> str:
        """The expression of whether any of these paths may have a value: a guard around code that only they need."""
        guards = dict.fromkeys(self._guard(*self._parts(path)) for path in paths)
        return " or ".join(guards)

    def chain(self, variable: str, paths: Sequence[str]) -> None:
        """Add the code that sets a variable to the first value at the paths that is not null."""
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
                    lookup = f"{variable} = {self.open(parent)}.get({leaf!r})"
                    self.add(f"if {variable} is None: {lookup}" if position else lookup)

    def _parts(self, path: str) -> tuple[str, str]:
        parent, _, leaf = path.rpartition(".")
        return parent, leaf

    def _guard(self, parent: str, leaf: str) -> str:
        """The variable that is true if the value may be present; "" for a key of the event itself."""
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
    """A name for a path. Different paths have different names."""
    return "_".join(
        "".join(char if char.isalnum() and char.isascii() else f"{ord(char):x}" for char in step)
        for step in path.split(".")
    )
