"""The files of other projects are those that are recorded, with their licences."""

from __future__ import annotations

import re
from hashlib import sha256

from gateway.console.static_files import FOLDER

OWN = {"console.css", "console.js", "icon.svg"}


def test_the_files_of_other_projects_are_recorded_with_version_hash_and_licence() -> None:
    rows = re.findall(
        r"\| `([^`]+)` \| ([^|]+) \| [^|]+ \| [^|]+`([^`]+)` \| `([0-9a-f]{64})` \|", (FOLDER / "README.md").read_text()
    )
    assert {name for name, *_ in rows} == {path.name for path in FOLDER.glob("*.*s*") if path.suffix != ".md"} - OWN
    for name, package, licence, digest in rows:
        assert sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name
        assert package.split()[-1] in name, "the name has the version"
        assert (FOLDER / licence).is_file()
