"""The native SHA-256: every engine of this processor gives the digests of hashlib."""

from __future__ import annotations

import hashlib
import platform
import random
from pathlib import Path

import pytest

from tests.mapping.native.probe import probe


@pytest.mark.parametrize("portable", [False, True], ids=["fastest", "portable"])
def test_digests_equal_those_of_hashlib_at_every_length_around_the_blocks(portable: bool) -> None:
    rng = random.Random(1)
    for length in [*range(260), 1_000, 4_095, 65_537]:
        data = rng.randbytes(length)
        assert probe().sha256(data, portable) == hashlib.sha256(data).hexdigest(), length


@pytest.mark.parametrize("portable", [False, True], ids=["fastest", "portable"])
def test_the_digests_of_the_standards_examples(portable: bool) -> None:
    examples = {
        b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    }
    for data, digest in examples.items():
        assert probe().sha256(data, portable) == digest


def test_the_instructions_of_the_processor_are_used() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    expected = {"x86_64": ("sha_ni", "SHA-NI"), "aarch64": ("sha2", "ARMv8 SHA-2")}.get(platform.machine())
    if expected is None or expected[0] not in flags:
        assert probe().engine() in {"portable SHA-256", "SHA-NI", "ARMv8 SHA-2"}
    else:
        assert probe().engine() == expected[1]
