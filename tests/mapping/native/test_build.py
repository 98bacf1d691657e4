"""The build of the native extension, and its absence: without a compiler, built for another platform, switched off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import hatch_build

TOP = Path(__file__).parents[3]
EXTENSION = hatch_build.EXTENSION.as_posix()
DESCRIBE = "from gateway.mapping.native.loading import describe, load; print(load() is not None, describe())"
NO_COMPILER = {"PATH": "/nonexistent", "CC": ""}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the build needs."""
    folder = tmp_path / "project"
    shutil.copytree(TOP / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(TOP / name, folder)
    return folder


def build(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel into `project/dist`."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    environment = {**os.environ, "GATEWAY_BUILD_NATIVE": "auto", **variables}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def wheel(project: Path) -> zipfile.ZipFile:
    (path,) = (project / "dist").iterdir()
    return zipfile.ZipFile(path)


def describe(folder: Path, **variables: str) -> str:
    """What a new process that imports the package from a folder says about the extension."""
    environment = {key: value for key, value in os.environ.items() if key != "GATEWAY_NATIVE"} | variables
    command = [sys.executable, "-c", DESCRIBE]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_wheel_has_the_extension_for_the_stable_abi_which_compiles_without_warnings(project: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler found")
    done = build(project, GATEWAY_BUILD_NATIVE="required", CC=f"{compiler} -Werror")
    assert done.returncode == 0, done.stderr
    assert str(wheel(project).filename).endswith(f"-{hatch_build.wheel_tag()}.whl")
    names = wheel(project).namelist()
    assert EXTENSION in names
    assert not [name for name in names if name.endswith((".c", ".h"))]
    wheel(project).extractall(project / "installed")
    assert describe(project / "installed").startswith("True native (")
    assert describe(project / "installed", GATEWAY_NATIVE="off") == "False python (GATEWAY_NATIVE=off)\n"


def test_without_a_compiler_the_package_is_built_without_the_extension_and_one_line_says_so(project: Path) -> None:
    (project / EXTENSION).write_bytes(b"of an earlier build")
    done = build(project, **NO_COMPILER)
    assert done.returncode == 0
    expected = "native extension not built (no C compiler found); events are mapped by the Python path"
    assert [line for line in done.stderr.splitlines() if "native" in line] == [expected]
    assert str(wheel(project).filename).endswith("-py3-none-any.whl")
    assert EXTENSION not in wheel(project).namelist()
    wheel(project).extractall(project / "installed")
    assert describe(project / "installed") == "False python (the native extension was not built)\n"


def test_a_build_that_requires_the_extension_fails_without_a_compiler(project: Path) -> None:
    done = build(project, GATEWAY_BUILD_NATIVE="required", **NO_COMPILER)
    assert done.returncode != 0
    assert "native extension not built: no C compiler found" in done.stderr


def test_the_extension_can_be_left_out_of_the_build(project: Path) -> None:
    done = build(project, GATEWAY_BUILD_NATIVE="off")
    assert done.returncode == 0
    assert "native extension not built (GATEWAY_BUILD_NATIVE=off)" in done.stderr
    assert EXTENSION not in wheel(project).namelist()


def test_an_unknown_mode_of_the_build_is_refused(project: Path) -> None:
    done = build(project, GATEWAY_BUILD_NATIVE="yes")
    assert done.returncode != 0
    assert "GATEWAY_BUILD_NATIVE: invalid value 'yes'; expected one of auto, off, required" in done.stderr


def test_sources_that_do_not_compile_are_named_and_do_not_break_the_install(project: Path) -> None:
    sources = project / hatch_build.PACKAGE / "src"
    shutil.rmtree(sources)
    sources.mkdir()
    (sources / "broken.c").write_text("int broken(void) { return missing; }\n")
    done = build(project)
    assert done.returncode == 0
    assert "broken.c:1" in done.stderr or "no C compiler found" in done.stderr
    assert not (project / EXTENSION).exists()


def test_an_extension_that_cannot_be_loaded_is_not_used(project: Path) -> None:
    (project / EXTENSION).write_bytes(b"for another platform")
    assert describe(project).startswith("False python (the native extension cannot be loaded: ")


def test_a_python_without_the_gil_gets_no_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"Py_GIL_DISABLED": 1}
    monkeypatch.setattr(sysconfig, "get_config_var", variables.get)
    with pytest.raises(hatch_build.NotBuilt, match="CPython with the GIL"):
        hatch_build.build(TOP)
