"""Fuzzing of the native extension under AddressSanitizer and UBSan: the JSON reader against orjson, and the mapper
against the Python path.

`make fuzz ARGS="--seconds 600"`. It compiles both with the sanitizers, and starts itself again with the runtime of
AddressSanitizer loaded first, since Python was built without it. Everything random follows from the seed, which it
prints.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hatch_build
from tests.mapping.native import json_texts, probe

SANITIZED = "GATEWAY_FUZZ_FOLDER"
"""Names the folder of the sanitized modules in the environment of the second process."""
EXTENSION = "gateway.mapping.native._native"
ROUND = 1_000
"""Texts between two looks at the clock."""
CORPUS = 512
"""Accepted texts that are kept to be damaged further."""
MAX_KEPT_BYTES = 2_000


def main() -> None:
    """Fuzz for a time; exit status 1 for a difference, or another one of a sanitizer that ends the process."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    if folder := os.environ.get(SANITIZED):
        sys.exit(fuzz(Path(folder), arguments.seconds, arguments.seed))
    with tempfile.TemporaryDirectory() as name:
        folder_path = Path(name)
        probe.build(folder_path, hatch_build.SANITIZED)
        sources = sorted(probe.SOURCES.glob("*.c"))
        hatch_build.compile_extension(sources, folder_path / hatch_build.EXTENSION.name, hatch_build.SANITIZED)
        sys.exit(run_sanitized(folder_path, arguments.seconds, arguments.seed).returncode)


def run_sanitized(
    folder: Path, seconds: float, seed: int, *, capture_output: bool = False
) -> subprocess.CompletedProcess[str]:
    """Fuzz the sanitized modules in a folder, in a process of their own."""
    command = [sys.executable, "-m", "tests.mapping.native.fuzz", "--seconds", str(seconds), "--seed", str(seed)]
    environment = {**os.environ, **hatch_build.sanitizer_environment(), SANITIZED: str(folder)}
    return subprocess.run(
        command, cwd=probe.TOP, env=environment, capture_output=capture_output, text=True, check=False
    )


def fuzz(folder: Path, seconds: float, seed: int) -> int:
    """Fuzz the JSON reader and the mapper, each for half of the time; 1 for a difference, which is printed."""
    print(f"seed {seed}", flush=True)
    difference = fuzz_reader(probe.load(folder / probe.FILE), seconds / 2, seed)
    if difference is None:
        difference = fuzz_mapper(folder / hatch_build.EXTENSION.name, seconds / 2, seed)
    if difference is not None:
        print(difference)
    return 0 if difference is None else 1


def fuzz_reader(reader: probe.Probe, seconds: float, seed: int) -> str | None:
    """Compare the reader with orjson until the time is over; the first difference, if there is one."""
    rng = random.Random(seed)
    corpus: list[bytes] = []
    texts = accepted = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(ROUND):
            text = next_text(rng, corpus)
            comparison = json_texts.compare(reader, text, json_texts.any_limits(rng))
            if comparison.difference is not None:
                return f"{comparison.difference}\nsmallest: {smallest(reader, text)!r}"
            if comparison.accepted:
                accepted += 1
                keep(rng, corpus, text)
        texts += ROUND
    print(f"reader: {texts:,} texts, {accepted:,} of them accepted; no difference to orjson, no report", flush=True)
    return None


def next_text(rng: random.Random, corpus: list[bytes]) -> bytes:
    """A new text, or an accepted one with damage."""
    if corpus and rng.random() < 0.5:
        return json_texts.damaged(rng, rng.choice(corpus))
    return json_texts.any_text(rng)


def keep(rng: random.Random, corpus: list[bytes], text: bytes) -> None:
    """Keep some of the accepted texts."""
    if len(corpus) < CORPUS:
        corpus.append(text)
    elif rng.random() < 0.05 and len(text) < MAX_KEPT_BYTES:
        corpus[rng.randrange(CORPUS)] = text


def smallest(reader: probe.Probe, text: bytes) -> bytes:
    """The text with as much removed as possible while the reader still differs from orjson."""
    size = len(text) // 2
    while size:
        for start in range(0, len(text), size):
            part = text[:start] + text[start + size :]
            if json_texts.compare(reader, part).difference is not None:
                text = part
                break
        else:
            size //= 2
    return text


def fuzz_mapper(extension: Path, seconds: float, seed: int) -> str | None:
    """Compare the native mapper with the Python path until the time is over; the first difference, if there is one.

    Half of the texts are damaged, so that values and names also occur that no generator has.
    """
    load_extension(extension)
    from tests.mapping.native.comparison import encoded, read_body
    from tests.mapping.native.generator import case

    rng = random.Random(seed)
    texts = mapped = destinations = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        generated = case(rng.randrange(2**48))
        pair = generated.pair()
        if not pair.is_native:
            continue
        for event in generated.events:
            text = encoded(event) or b""
            for body in (text, json_texts.damaged(rng, text)):
                if read_body(body) is not None and (difference := pair.difference(body)) is not None:
                    return f"{difference}\nbody {body!r}\nsettings {generated.tree}"
                texts += 1
        if (difference := pair.counter_difference()) is not None:
            return f"{difference}\nsettings {generated.tree}"
        destinations += 1
        mapped += pair.mapped
    print(
        f"mapper: {texts:,} texts for {destinations:,} destinations, {mapped:,} mapped natively; no difference to "
        "the Python path, no report"
    )
    return None


def load_extension(path: Path) -> None:
    """Load a compiled extension in place of the installed one."""
    spec = importlib.util.spec_from_file_location(EXTENSION, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[EXTENSION] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
