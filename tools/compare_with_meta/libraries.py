"""Meta's libraries, installed in a folder outside the project, and what they send."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, TypeAlias

from tools.compare_with_meta.generated_values import Given

Answer: TypeAlias = Mapping[str, str | None]
"""By library, the hash that it sends: None if it sends nothing, ERROR if it raises, absent if it has no such field."""

ERROR = "error"
PARAMETER_BUILDER = "parameter_builder"
TITLES: Mapping[str, str] = {
    PARAMETER_BUILDER: "Parameter Builder",
    "node_sdk": "SDK for Node.js",
    "python_sdk": "SDK for Python",
}
PROGRAMS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class MetaLibraries:
    """Meta's packages from npm in `folder`/node_modules and from PyPI in `folder`/python."""

    folder: Path

    @property
    def _modules(self) -> Path:
        return self.folder / "node_modules"

    @property
    def _python(self) -> Path:
        return self.folder / "python"

    @property
    def _parameter_builder(self) -> Path:
        return self._modules / "capi-param-builder-nodejs"

    def versions(self) -> Mapping[str, str]:
        """By library, its version."""
        packages = {
            PARAMETER_BUILDER: self._parameter_builder,
            "node_sdk": self._modules / "facebook-nodejs-business-sdk",
        }
        found = {
            name: json.loads((path / "package.json").read_text("utf-8"))["version"] for name, path in packages.items()
        }
        [sdk] = distributions(name="facebook_business", path=[str(self._python)])
        return found | {"python_sdk": sdk.version}

    def test_values(self) -> list[Given]:
        """The texts that the Parameter Builder's own tests normalise.

        Raises:
            subprocess.CalledProcessError: one of those tests fails.
        """
        return [Given(*each) for each in _run([_node(), PROGRAMS / "test_values.js", self._parameter_builder])]

    def sent(self, given: Sequence[Given]) -> list[Answer]:
        """What each library sends for each value."""
        texts = [[each.field, each.value] for each in given]
        by_node = _run([_node(), PROGRAMS / "node_hashes.js", self._modules], texts)
        by_python = _run([sys.executable, "-P", PROGRAMS / "python_sdk_hashes.py", self._python], texts)
        return [{**one, **other} for one, other in zip(by_node, by_python, strict=True)]


def _node() -> str:
    return shutil.which("node") or "node"


def _run(command: Sequence[str | Path], given: Any = None) -> list[Any]:
    done = subprocess.run(command, input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True)
    answers: list[Any] = json.loads(done.stdout)
    return answers
