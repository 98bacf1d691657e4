"""Plants faults in a copy of the C sources, to see that the tests detect them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import hatch_build

TOP = Path(__file__).parents[3]
FAST_BUILD = ("-O0", "-w")
"""Compiler options for faulty sources: they are compiled once for each fault, and warnings are expected."""


class PlantedFault(NamedTuple):
    """A change of one place of the sources."""

    file: str
    correct: str
    faulty: str


def plant(folder: Path, fault: PlantedFault) -> Path:
    """Copy the sources to `folder/src` with the fault in them; that folder."""
    sources = folder / "src"
    shutil.copytree(TOP / hatch_build.PACKAGE / "src", sources)
    text = (sources / fault.file).read_text()
    assert text.count(fault.correct) == 1, f"{fault.file} has {fault.correct!r} not exactly once"
    (sources / fault.file).write_text(text.replace(fault.correct, fault.faulty))
    return sources
