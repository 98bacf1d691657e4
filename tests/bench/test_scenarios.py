"""Every scenario is there, says what it shows, and every bar has one that measures it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bench.bars import BARS
from bench.processes import cpu_seconds, family, peak_resident_bytes, resident_bytes
from bench.scenarios import SCENARIOS, scenario
from bench.scenarios.soak import slope
from bench.workload import REFUSING, bodies, hashes_of, settings
from gateway.config import parse
from gateway.config.settings import BatchSettings, DedupSettings, SpoolSettings, UploadSettings

FOLDER = Path(scenario("limits").__file__ or "").parent


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_can_be_run_and_says_what_it_shows(name: str) -> None:
    module = scenario(name)
    assert callable(module.run)
    assert (module.__doc__ or "").strip()


def test_every_file_is_in_the_list_and_every_bar_has_a_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(SCENARIOS)
    assert {bar.scenario for bar in BARS.values()} <= set(SCENARIOS)


def test_the_gateway_that_is_measured_keeps_the_defaults_of_a_user(tmp_path: Path) -> None:
    """But for where it listens, keeps its files and uploads to, and the pace that its owner would ask Meta for."""
    measured = parse(tomllib.loads(settings(REFUSING, tmp_path)))
    destination = measured.destinations["store"]
    assert measured.dedup == DedupSettings()
    assert measured.spool == SpoolSettings(path=str(tmp_path / "spool"))
    assert destination.batch == BatchSettings()
    assert destination.upload == UploadSettings(graph_url=REFUSING, requests_per_second=1000)


def test_the_floor_hashes_as_many_values_as_the_gateway_does(tmp_path: Path) -> None:
    (body,) = bodies(1, 50, 1)
    hashes = hashes_of(body, tmp_path)
    assert len(hashes) == 50
    assert all(1 <= count <= 15 for count in hashes)


def test_a_slope_is_found() -> None:
    assert slope([(0.0, 70.0), (10.0, 71.0), (20.0, 72.0)]) == pytest.approx(0.1)


def test_a_process_is_measured_with_those_under_it() -> None:
    own = os.getpid()
    alone = resident_bytes(own)
    code = "import time; x = bytearray(30_000_000); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert process.pid in family(own)
            assert resident_bytes(own) >= alone + 25_000_000
            assert peak_resident_bytes(process.pid) >= 30_000_000
            assert cpu_seconds(own) > 0
        finally:
            process.kill()
