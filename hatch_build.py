"""Builds the native extension of the mapping (`gateway/mapping/native/src`), if there is a C compiler.

Hatchling calls it for each wheel and editable install. Without a compiler, or with a Python that the extension does not
support, the package is installed without it, and the Python path maps all events. For development:
`python hatch_build.py` compiles it into the source tree, with `--sanitize` for AddressSanitizer and UBSan.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("gateway/mapping/native")
EXTENSION = PACKAGE / "_native.abi3.so"
SWITCH = "GATEWAY_BUILD_NATIVE"
MODES = ("auto", "off", "required")
MIN_PYTHON = (3, 11)
"""Of the stable ABI that the extension uses."""

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion")
HARDENING = ("-fstack-protector-strong", "-fvisibility=hidden")
OPTIMISED = ("-O3", "-D_FORTIFY_SOURCE=2")
SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class NotBuilt(Exception):
    """The extension cannot be built here. The message says why."""


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the extension to a wheel or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's signature)
        """Build the extension. Without it the wheel has no code of a platform, which is what hatchling assumes."""
        root = Path(self.root)
        mode = build_mode()
        try:
            build(root, mode=mode)
        except NotBuilt as reason:
            (root / EXTENSION).unlink(missing_ok=True)  # of an earlier build, perhaps of other sources
            if mode == "required":
                raise SystemExit(f"native extension not built: {reason}") from None
            self.app.display_warning(f"native extension not built ({reason}); events are mapped by the Python path")
            return
        build_data["artifacts"].append(EXTENSION.as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = wheel_tag()


def build_mode() -> str:
    """Whether to build the extension: `auto` if possible, `off`, or `required`."""
    mode = os.environ.get(SWITCH, "auto")
    if mode not in MODES:
        raise SystemExit(f"{SWITCH}: invalid value {mode!r}; expected one of {', '.join(MODES)}")
    return mode


def build(root: Path, flags: Sequence[str] = OPTIMISED, mode: str = "auto") -> None:
    """Compile the extension into the source tree at `root`. Raises `NotBuilt`."""
    if mode == "off":
        raise NotBuilt(f"{SWITCH}=off")
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise NotBuilt("it needs CPython with the GIL")
    sources = sorted((root / PACKAGE / "src").glob("*.c"))
    compile_extension(sources, root / EXTENSION, flags)


def compile_extension(sources: Sequence[Path], output: Path, flags: Sequence[str] = OPTIMISED) -> None:
    """Compile C sources into an extension module for the stable ABI. Raises `NotBuilt`."""
    unfinished = output.with_name(f"{output.name}.{os.getpid()}")
    limited_api = f"-DPy_LIMITED_API=0x{MIN_PYTHON[0]:02X}{MIN_PYTHON[1]:02X}0000"
    command = [
        *compiler(),
        *("-std=c11", "-fPIC", *WARNINGS, *HARDENING, *flags, limited_api),
        f"-I{sysconfig.get_path('include')}",
        *map(str, sources),
        *(("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)),
        *("-o", str(unfinished)),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        raise NotBuilt(f"{command[0]}: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "error" in line] or [f"exit status {error.returncode}"]
        raise NotBuilt(f"{command[0]}: {lines[0]}") from None
    unfinished.replace(output)  # a process that has loaded the old file keeps it


def sanitizer_environment() -> dict[str, str]:
    """Variables for a Python process that loads an extension which was compiled with `SANITIZED`.

    The runtime has to be loaded first. Python's own allocator would hide accesses beyond small blocks. Python does not
    free everything when it ends, which is no leak of the extension. Raises `NotBuilt` where there is no runtime.
    """
    done = subprocess.run([*compiler(), "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
    runtime = Path(done.stdout.strip())
    if not runtime.is_absolute():
        raise NotBuilt("the compiler has no AddressSanitizer (libasan.so)")
    return {"LD_PRELOAD": str(runtime), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}


def compiler() -> list[str]:
    """The command of the C compiler. Raises `NotBuilt`."""
    candidates = [os.environ.get("CC"), "cc", sysconfig.get_config_var("CC"), "gcc", "clang"]
    for candidate in candidates:
        if candidate and shutil.which(shlex.split(candidate)[0]):
            return shlex.split(candidate)
    raise NotBuilt("no C compiler found")


def wheel_tag() -> str:
    """The tag of a wheel for this platform and the stable ABI."""
    if sys.platform == "darwin":  # the minimum version of macOS is part of the tag
        platform_tag = f"macosx_{platform.mac_ver()[0].split('.')[0]}_0_{platform.machine()}"
    else:
        platform_tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"cp{MIN_PYTHON[0]}{MIN_PYTHON[1]}-abi3-{platform_tag}"


def main() -> None:
    """Compile the extension into the source tree."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sanitize", action="store_true", help="with AddressSanitizer and UBSan, to find errors")
    arguments = parser.parse_args()
    try:
        build(Path(__file__).parent, SANITIZED if arguments.sanitize else OPTIMISED)
    except NotBuilt as reason:
        sys.exit(f"native extension not built: {reason}")


if __name__ == "__main__":
    main()
