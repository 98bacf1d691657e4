"""The access token of a destination: a token read from its file never replaces one that a reload brought."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.config import Secret
from gateway.meta import AccessToken


def from_file(path: Path) -> Secret:
    return Secret.parse({"file": str(path)})


async def test_a_refused_token_is_replaced_by_the_one_that_is_in_its_file_now(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    token = AccessToken(from_file(path), "store")
    path.write_text("new")
    assert await token.refresh("old")
    assert token.current == "new"
    assert await token.refresh("old")
    assert not await token.refresh("new")


async def test_a_token_that_is_read_from_its_file_during_a_reload_does_not_replace_the_reloaded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    reading, finish = threading.Event(), threading.Event()
    reread = Secret.reread

    def slow_reread(secret: Secret) -> Secret:
        result = reread(secret)
        reading.set()
        assert finish.wait(5)
        return result

    token = AccessToken(from_file(path), "store")
    path.write_text("from-the-file")
    monkeypatch.setattr(Secret, "reread", slow_reread)
    refreshing = asyncio.create_task(token.refresh("old"))
    assert await asyncio.to_thread(reading.wait, 5)
    token.replace(Secret.parse("reloaded"))
    finish.set()
    assert await refreshing
    assert token.current == "reloaded"
