"""The fuzzer ends with the report of a sanitizer: each test plants a fault that only a sanitizer can see."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build
from tests.mapping.native import probe
from tests.mapping.native.fuzz import run_sanitized
from tests.mapping.native.planted import PlantedFault, plant

ADDRESS, UNDEFINED = "ERROR: AddressSanitizer: heap-buffer-overflow", "runtime error: signed integer overflow"
FAULTS = {
    "a read behind the text": (PlantedFault("json.c", "(size_t)(r->end - r->at) >= length &&", ""), ADDRESS),
    "too little scratch": (PlantedFault("json.c", "Malloc((size_t)(r->end - r->at))", "Malloc(1)"), ADDRESS),
    "undefined arithmetic": (PlantedFault("json_number.c", "? -(int64_t)", "? INT64_MIN - (int64_t)"), UNDEFINED),
}


@pytest.mark.proof
@pytest.mark.parametrize("name", FAULTS)
def test_the_fuzzer_ends_with_the_report_of_a_sanitizer(name: str, tmp_path: Path) -> None:
    fault, report = FAULTS[name]
    try:
        probe.build(tmp_path, (*hatch_build.SANITIZED, "-w"), plant(tmp_path, fault))
    except hatch_build.NotBuilt as reason:
        pytest.skip(str(reason))
    done = run_sanitized(tmp_path, seconds=20, seed=1, capture_output=True)
    assert done.returncode != 0
    assert report in done.stderr
