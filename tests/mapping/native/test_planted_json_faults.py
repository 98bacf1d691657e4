"""The tests of the JSON reader detect faults: each test plants one in its source, and it must be detected."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build
from tests.mapping.native.json_examples import EXAMPLES
from tests.mapping.native.json_texts import fault, random_fault
from tests.mapping.native.planted import FAST_BUILD, PlantedFault, plant
from tests.mapping.native.probe import build, load

pytestmark = pytest.mark.proof
TEXTS = 1_000
FAULTS = {
    "a control character within eight bytes": PlantedFault("json.c", "word - ones * 0x20", "word - ones * 0x1F"),
    "a control character within the last bytes": PlantedFault("json.c", "*text >= 0x20 &&", "*text >= 0x1F &&"),
    "overlong UTF-8": PlantedFault("json_text.c", "lead == 0xE0 ? 0xA0", "lead == 0xE0 ? 0x80"),
    "surrogates in UTF-8": PlantedFault("json_text.c", "lead == 0xED ? 0x9F", "lead == 0xED ? 0xBF"),
    "characters above U+10FFFF": PlantedFault("json_text.c", "lead == 0xF4 ? 0x8F", "lead == 0xF4 ? 0xBF"),
    "an unpaired low surrogate": PlantedFault("json_text.c", "unit > 0xDBFF ||", ""),
    "a pair with no low surrogate": PlantedFault("json_text.c", "|| low > 0xDFFF", ""),
    "escaped text taken for ASCII": PlantedFault("json_text.c", "*ascii = *ascii && character < 0x80;", ""),
    "strings decoded over each other": PlantedFault("json.c", "scratch_size += value->length", "scratch_size += 0"),
    "a number with a leading zero": PlantedFault("json_number.c", "text - digits > 1", "text - digits > 9"),
    "an integer of 64 bits as negative": PlantedFault(
        "json_number.c", "mantissa <= INT64_MAX", "mantissa <= UINT64_MAX"
    ),
    "a mantissa that wraps around": PlantedFault(
        "json_number.c", "MAX_MANTISSA_DIGITS = 19", "MAX_MANTISSA_DIGITS = 20"
    ),
    "a real rounded twice": PlantedFault("json_number.c", "UINT64_C(1) << 53", "UINT64_C(1) << 57"),
    "a power of ten that is wrong": PlantedFault("json_number.c", "1e10, 1e11", "1e10, 1e10"),
    "negative zero": PlantedFault("json_number.c", "parts->negative ? -real : real", "real"),
    "infinity": PlantedFault("json_number.c", "MAX_FINITE_TEXT = 300", "MAX_FINITE_TEXT = 500"),
    "duplicate keys": PlantedFault("json.c", "container->length > 1", "container->length > 1000"),
    "the wrong values taken for keys": PlantedFault("json.c", "i < index; i = values[i + 1].next", "i < index; i += 2"),
    "two values without a comma": PlantedFault(
        "json.c", "length == 0 || take(r, ',')", "length == 0 || take(r, ',') || true"
    ),
    "text behind the end": PlantedFault("json.c", "return r->at == r->end;\n}\n\nenum", "return true;\n}\n\nenum"),
    "containers that stay open": PlantedFault("json.c", "r->depth--;", ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_detected(name: str, tmp_path: Path) -> None:
    try:
        faulty = load(build(tmp_path, FAST_BUILD, plant(tmp_path, FAULTS[name])))
    except hatch_build.NotBuilt as reason:
        pytest.skip(str(reason))
    assert any(fault(faulty, kind) for kind in EXAMPLES) or random_fault(faulty, TEXTS, seed=1)
