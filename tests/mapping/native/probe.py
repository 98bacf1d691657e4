"""The JSON reader and SHA-256 of the native extension by themselves: an extension module that only the tests compile.

`probe.c` converts what the reader read to Python objects, so that it can be compared with orjson.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

import hatch_build

TOP = Path(__file__).parents[3]
SOURCES = TOP / hatch_build.PACKAGE / "src"
FILE = "probe.abi3.so"


class Probe(Protocol):
    """The functions of `probe.c`."""

    def read(self, source: bytes, max_values: int, max_depth: int, /) -> Any:
        """The value of a JSON text. Raises `NotImplementedError` where the reader gives up.

        A number whose value was not computed is a tuple with its text.
        """

    def layout(self, source: bytes, max_values: int, max_depth: int, /) -> list[tuple[int, int, bytes]]:
        """Type, flags and source text of each value and key. Raises `NotImplementedError` where the reader gives up."""

    def sha256(self, data: bytes, portable: bool, /) -> str:
        """The digest in hexadecimal, by the portable engine or by the fastest of this processor."""

    def engine(self) -> str:
        """The name of the fastest engine of this processor."""


@cache
def probe() -> Probe:
    """The probe, compiled once for each process of the tests. Skips the test where there is no C compiler."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return load(build(Path(folder), (*hatch_build.OPTIMISED, "-Werror")))
        except hatch_build.NotBuilt as reason:
            if "no C compiler" not in str(reason):
                raise
            pytest.skip(str(reason))


def build(folder: Path, flags: Sequence[str], sources: Path = SOURCES) -> Path:
    """Compile the probe with the sources of the extension into a folder. Raises `hatch_build.NotBuilt`."""
    output = folder / FILE
    files = [Path(__file__).with_name("probe.c"), *sorted([*sources.glob("json*.c"), *sources.glob("sha256*.c")])]
    hatch_build.compile_extension(files, output, (*flags, f"-I{sources}"))
    return output


def load(path: Path) -> Probe:
    """Load a compiled probe."""
    spec = importlib.util.spec_from_file_location("probe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Probe", module)
