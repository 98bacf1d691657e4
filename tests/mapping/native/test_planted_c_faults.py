"""The comparison with the Python path detects faults in the C code: each test plants one, and it must be detected."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import orjson
import pytest

import hatch_build
from gateway.mapping.native import load, mapper
from tests.mapping.builders import NOW, destination
from tests.mapping.native.comparison import Pair, bodies
from tests.mapping.native.generator import case
from tests.mapping.native.planted import FAST_BUILD, TOP, PlantedFault, plant

SOURCES = sorted((TOP / hatch_build.PACKAGE / "src").glob("*.c"))
SEEDS = range(80)
"""A fault must be detected within the events of these seeds."""

pytestmark = [
    pytest.mark.proof,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(load() is None or shutil.which("cc") is None, reason="no extension, or no C compiler"),
]

FAULTS = {
    "white space of Unicode is not taken off": PlantedFault("text.c", "if (first == 0xC2) {", "if (first == 0xC3) {"),
    "control characters are escaped in upper case": PlantedFault(
        "buffer.c", '"0123456789abcdef"', '"0123456789ABCDEF"'
    ),
    "zeros at the end of a decimal are kept": PlantedFault(
        "buffer.c", "end > point + 2) {\n        end--;", "false) {\n        end--;"
    ),
    "the second form of a name is not sent": PlantedFault(
        "normalise.c", "count > 1 && has_variants", "false && has_variants"
    ),
    "American birthdays have the day first": PlantedFault(
        "normalise.c", "american && has_slashes", "false && has_slashes"
    ),
    "every year is a leap year": PlantedFault(
        "dates.c", "bool is_leap_year = year % 4 == 0", "bool is_leap_year = year % 1 == 0"
    ),
    "an offset from UTC is added": PlantedFault("dates.c", "+ second - offset", "+ second + offset"),
    "the last path wins": PlantedFault("reading.c", "use->rank < mapping->ranks", "use->rank > mapping->ranks"),
    "a value that a field has is passed on as well": PlantedFault(
        "properties.c", "|| is_consumed(mapping, name + 1)", ""
    ),
    "inner properties that look personal are passed on": PlantedFault(
        "properties.c",
        "(verdict & VERDICT_INNER_LEFT_OUT) != 0",
        "false",
    ),
    "texts with a colon are not screened": PlantedFault("screening.c", "&& !text_has(text, ':'))", ")"),
    "a phone number without a calling code counts as complete": PlantedFault(
        "identity.c",
        "&is_complete) && is_complete;",
        "&is_complete);",
    ),
    "the last word is the first name": PlantedFault("identity.c", "words == 0 || !is_first", "words == 0 || is_first"),
    "an SKU is preferred as ID": PlantedFault(
        "products.c",
        "{PART_product_id, PART_id, PART_sku}",
        "{PART_sku, PART_product_id, PART_id}",
    ),
    "events of every source have the long window": PlantedFault(
        "routing.c", "bool is_long = ", "bool is_long = true || "
    ),
    "events in the future keep their time": PlantedFault(
        "routing.c", "mapping->at = mapping->now;\n    }\n    consume", "}\n    consume"
    ),
    "the hash of another country is remembered": PlantedFault(
        "ask.c", "{text, country, (uint8_t)field}", "{text, {{0, 0}}, (uint8_t)field}"
    ),
    "dropped values are not counted": PlantedFault("identity.c", "mapping->dropped_count++", "mapping->dropped_count"),
    "the latest time of expiry counts": PlantedFault(
        "output.c", "expires_at < run->expires_at", "expires_at > run->expires_at - 1"
    ),
    "the upload tag is ignored": PlantedFault("output.c", "mapping->tag);", "(text_view){0});"),
}
"""By what is wrong."""
HARMLESS = PlantedFault("text.c", "/* Bytes of the white space", "/* The bytes of the white space")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every source compiled, so that only the faulty one has to be compiled for each fault."""
    folder = tmp_path_factory.mktemp("objects")
    include = f"-I{sysconfig.get_path('include')}"
    command = [*hatch_build.compiler(), "-std=c11", "-fPIC", *FAST_BUILD, include, "-c", *map(str, SOURCES)]
    subprocess.run(command, cwd=folder, check=True)
    return folder


def faulty_extension(folder: Path, objects: Path, fault: PlantedFault) -> ModuleType:
    """Build and load the extension with a fault."""
    library = folder / "_native.abi3.so"
    faulty = plant(folder, fault) / fault.file
    others = [path for path in objects.glob("*.o") if path.stem != faulty.stem]
    hatch_build.compile_extension([faulty, *others], library, FAST_BUILD)
    loader = ExtensionFileLoader("gateway.mapping.native._native", str(library))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def is_detected() -> bool:
    """Whether a comparison of the generated events, one by one or in batches, finds a difference."""
    for seed in SEEDS:
        generated = case(seed)
        pair, batch_pair = generated.pair(), generated.pair()
        if not pair.is_native:
            continue
        usable = list(bodies(generated.events))
        batch = b'{"batch":[' + b",".join(usable) + b"]}"
        if any(pair.difference(body) for body in usable) or batch_pair.difference(batch) or pair.counter_difference():
            return True
    return False


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_c_code_is_detected(
    fault: str, objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = faulty_extension(tmp_path, objects, FAULTS[fault])
    monkeypatch.setattr(mapper, "load", lambda: module)

    assert is_detected()


def test_without_a_fault_the_comparison_finds_no_difference(
    objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = faulty_extension(tmp_path, objects, HARMLESS)
    monkeypatch.setattr(mapper, "load", lambda: module)
    pair = Pair(destination())

    assert pair.difference(orjson.dumps({"type": "track", "event": "Order Completed", "userId": "u-1"}), NOW) is None
    assert not is_detected()
