"""The scenarios are complete and documented, every target has a scenario, and processes are measured correctly."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bench.processes import cpu_seconds, peak_resident_bytes, process_tree, resident_bytes
from bench.scenarios import SCENARIOS, scenario
from bench.scenarios.soak import slope
from bench.targets import TARGETS
from bench.workload import UNREACHABLE_META, gateway_settings, hashes_per_event, request_bodies
from gateway.config import parse
from gateway.config.settings import BatchSettings, DedupSettings, SpoolSettings, UploadSettings

FOLDER = Path(scenario("limits").__file__ or "").parent


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_a_run_function_and_a_description(name: str) -> None:
    module = scenario(name)
    assert callable(module.run)
    assert (module.__doc__ or "").strip()


def test_every_module_is_listed_and_every_target_has_a_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(SCENARIOS)
    assert {target.scenario for target in TARGETS.values()} <= set(SCENARIOS)


def test_the_measured_gateway_has_default_settings(tmp_path: Path) -> None:
    """Except for its addresses, the folder of its spool, and the upload rate limit, which users may raise as well."""
    settings = parse(tomllib.loads(gateway_settings(UNREACHABLE_META, tmp_path)))
    destination = settings.destinations["store"]
    assert settings.dedup == DedupSettings()
    assert settings.spool == SpoolSettings(path=str(tmp_path / "spool"))
    assert destination.batch == BatchSettings()
    assert destination.upload == UploadSettings(graph_url=UNREACHABLE_META, requests_per_second=1000)


def test_the_number_of_hashes_per_event_is_taken_from_the_mapper(tmp_path: Path) -> None:
    (body,) = request_bodies(1, 50, 1)
    hashes = hashes_per_event(body, tmp_path)
    assert len(hashes) == 50
    assert all(1 <= count <= 15 for count in hashes)


def test_the_slope_of_points_on_a_line_is_exact() -> None:
    assert slope([(0.0, 70.0), (10.0, 71.0), (20.0, 72.0)]) == pytest.approx(0.1)


def test_memory_and_processor_time_include_child_processes() -> None:
    own_pid = os.getpid()
    before = resident_bytes(own_pid)
    code = "import time; x = bytearray(30_000_000); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert process.pid in process_tree(own_pid)
            assert resident_bytes(own_pid) >= before + 25_000_000
            assert peak_resident_bytes(process.pid) >= 30_000_000
            assert cpu_seconds(own_pid) > 0
        finally:
            process.kill()
