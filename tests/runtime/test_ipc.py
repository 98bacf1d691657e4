"""Calls from the supervisor to a worker, over a real pair of sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from gateway.model import GatewayError, JsonObject, Stage
from gateway.runtime import wire
from gateway.runtime.ipc import (
    Handler,
    WorkerClient,
    WorkerUnavailable,
    open_stream,
    read_message,
    send_message,
    serve_calls,
)
from gateway.spool import DeadLetterFilter, SpoolFull, SpoolUnavailable
from gateway.telemetry import Snapshot


class UnlistedError(GatewayError):
    """An error type that the client does not know."""


@asynccontextmanager
async def connected(methods: Mapping[str, Handler]) -> AsyncIterator[WorkerClient]:
    """A client whose calls are served by `methods`."""
    client_end, worker_end = socket.socketpair()
    client = WorkerClient(client_end)
    await client.open()
    reader, writer = await open_stream(worker_end)
    serving = asyncio.create_task(serve_calls(reader, writer, methods))
    try:
        yield client
    finally:
        await client.close()
        serving.cancel()
        await asyncio.wait([serving])
        writer.close()


async def echo(*params: Any) -> list[Any]:
    """A method that returns its parameters."""
    return list(params)


async def never() -> None:
    """A method that does not return."""
    await asyncio.Event().wait()


async def test_a_call_returns_the_result_of_the_method() -> None:
    async with connected({"echo": echo}) as client:
        assert await client.call("echo", "store", None, 3, {"a": [1.5, True]}) == ["store", None, 3, {"a": [1.5, True]}]
        assert await client.call("echo", timeout=5.0) == []


async def test_parameters_and_results_arrive_as_json_types() -> None:
    async with connected({"echo": echo}) as client:
        (received,) = await client.call("echo", DeadLetterFilter(stage=Stage.UPLOAD, since=10.5))
        assert (received["stage"], received["since"], received["code"]) == ("upload", 10.5, None)


async def test_calls_overlap() -> None:
    released = asyncio.Event()

    async def wait() -> str:
        await released.wait()
        return "waited"

    async def release() -> str:
        released.set()
        return "released"

    async with connected({"wait": wait, "release": release}) as client:
        waiting = asyncio.create_task(client.call("wait"))
        assert await client.call("release") == "released"
        assert await waiting == "waited"


async def test_a_message_may_be_larger_than_the_default_limit_of_asyncio() -> None:
    text = "x" * 2**20
    async with connected({"echo": echo}) as client:
        assert await client.call("echo", text) == [text]


@pytest.mark.parametrize("error_type", [SpoolFull, SpoolUnavailable, GatewayError])
async def test_an_error_of_the_method_is_raised_with_its_type_and_message(error_type: type[GatewayError]) -> None:
    async def fail() -> None:
        raise error_type("the spool is full; send again later")

    async with connected({"fail": fail, "echo": echo}) as client:
        with pytest.raises(GatewayError, match=r"^the spool is full; send again later$") as raised:
            await client.call("fail")
        assert raised.type is error_type
        assert await client.call("echo", 1) == [1], "the connection can still be used"


async def test_an_error_of_an_unknown_type_is_raised_as_a_gateway_error_with_its_message() -> None:
    async def fail() -> None:
        raise UnlistedError("something else is wrong")

    async with connected({"fail": fail}) as client:
        with pytest.raises(GatewayError, match=r"^something else is wrong$") as raised:
            await client.call("fail")
        assert raised.type is GatewayError


async def test_a_call_without_a_reply_in_time_raises_worker_unavailable() -> None:
    async with connected({"never": never, "echo": echo}) as client:
        with pytest.raises(WorkerUnavailable, match=r"did not reply within 0\.01 s"):
            await client.call("never", timeout=0.01)
        assert await client.call("echo", 1) == [1]


async def test_a_reply_after_the_time_out_is_ignored() -> None:
    released = asyncio.Event()

    async def wait() -> str:
        await released.wait()
        return "late"

    async with connected({"wait": wait, "echo": echo}) as client:
        with pytest.raises(WorkerUnavailable):
            await client.call("wait", timeout=0.01)
        released.set()
        assert await client.call("echo", "in time") == ["in time"]


async def test_pending_calls_raise_worker_unavailable_when_the_worker_closes_the_connection() -> None:
    client_end, worker_end = socket.socketpair()
    client = WorkerClient(client_end)
    await client.open()
    calls = [asyncio.create_task(client.call("snapshot")) for _ in range(3)]
    reader, writer = await open_stream(worker_end)
    for _ in calls:
        assert await read_message(reader) is not None
    writer.close()
    for call in calls:
        with pytest.raises(WorkerUnavailable, match="ended"):
            await call
    with pytest.raises(WorkerUnavailable, match="is not running"):
        await client.call("snapshot")
    await client.close()


async def test_a_call_before_open_or_after_close_raises_worker_unavailable() -> None:
    client_end, worker_end = socket.socketpair()
    with closing(worker_end):
        client = WorkerClient(client_end)
        with pytest.raises(WorkerUnavailable, match="is not running"):
            await client.call("snapshot")
        await client.open()
        await client.close()
        with pytest.raises(WorkerUnavailable, match="is not running"):
            await client.call("snapshot")


async def test_serving_ends_when_the_supervisor_closes_the_connection() -> None:
    supervisor_end, worker_end = socket.socketpair()
    reader, writer = await open_stream(worker_end)
    serving = asyncio.create_task(serve_calls(reader, writer, {"echo": echo}))
    supervisor_end.close()
    await asyncio.wait_for(serving, 5.0)
    writer.close()


async def test_a_truncated_message_counts_as_the_end_of_the_connection() -> None:
    supervisor_end, worker_end = socket.socketpair()
    reader, writer = await open_stream(worker_end)
    supervisor_end.sendall(b'{"id":1,"method":"ec')
    supervisor_end.close()
    assert await read_message(reader) is None
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xfe\x00\n",
        b"{\n",
        b"[]\n",
        b"7\n",
        b'"text"\n',
        b"{}\n",
        b'{"id":[]}\n',
        b'{"id":0}\n',
        b'{"id":0,"error":7}\n',
        b"[" * 100_000 + b"\n",
        b"x" * 3000,
    ],
)
async def test_a_message_that_cannot_be_understood_ends_the_connection(
    sent: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if sent.startswith(b"x"):
        monkeypatch.setattr("gateway.runtime.ipc.MAX_MESSAGE_BYTES", 1000)
    client_end, worker_end = socket.socketpair()
    with closing(worker_end):
        client = WorkerClient(client_end)
        await client.open()
        call = asyncio.create_task(client.call("snapshot"))
        await asyncio.sleep(0)
        worker_end.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(worker_end, sent)
        with pytest.raises(WorkerUnavailable):
            await asyncio.wait_for(call, 5.0)
        await asyncio.wait_for(asyncio.wait([client.reading]), 5.0)
        assert client.is_broken
        assert "cannot be understood" in caplog.text
        with pytest.raises(WorkerUnavailable):
            await client.call("snapshot")
        await client.close()


async def test_a_result_of_another_type_ends_the_connection() -> None:
    async def wrong() -> Any:
        return {"ledger": 7, "lanes": "none"}

    async with connected({"snapshot": wrong, "echo": echo}) as client:
        with pytest.raises(WorkerUnavailable, match="unexpected result"):
            await client.fetch(Snapshot, "snapshot")
        await asyncio.wait_for(asyncio.wait([client.reading]), 5.0)
        assert client.is_broken


async def test_a_worker_that_closes_the_connection_is_not_broken() -> None:
    client_end, worker_end = socket.socketpair()
    client = WorkerClient(client_end)
    await client.open()
    worker_end.sendall(b'{"id":1,"resu')
    worker_end.close()
    await asyncio.wait_for(asyncio.wait([client.reading]), 5.0)
    assert not client.is_broken
    await client.close()


async def test_the_final_message_is_kept_after_the_connection_was_closed() -> None:
    client_end, worker_end = socket.socketpair()
    client = WorkerClient(client_end)
    await client.open()
    assert client.final(Snapshot) is None
    _, writer = await open_stream(worker_end)
    snapshot = Snapshot()
    snapshot.ledger.received["shop"] = 7
    await send_message(writer, {"final": wire.encode(snapshot)})
    writer.close()
    await asyncio.wait_for(asyncio.wait([client.reading]), 5.0)
    final = client.final(Snapshot)
    assert final is not None
    assert final.ledger.received == {"shop": 7}
    await client.close()


async def test_a_bug_in_a_method_is_logged_and_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise KeyError("customer@example.com")

    async def unsupported() -> Any:
        return object()

    async with connected({"fail": fail, "unsupported": unsupported, "echo": echo}) as client:
        for method in ("fail", "unsupported"):
            with pytest.raises(GatewayError, match=r"^The worker process failed; its log has the details\.$"):
                await client.call(method)
        assert await client.call("echo", 1) == [1]
    assert caplog.text.count("internal error") == 2


async def test_a_call_to_a_worker_that_does_not_read_ends_at_its_time_out() -> None:
    client_end, worker_end = socket.socketpair()
    with closing(worker_end):
        client = WorkerClient(client_end)
        await client.open()
        with pytest.raises(WorkerUnavailable, match="did not reply"):
            await client.call("echo", "x" * 2**22, timeout=0.05)
        await client.close()


async def test_a_call_is_one_line_of_json() -> None:
    client_end, worker_end = socket.socketpair()
    client = WorkerClient(client_end)
    await client.open()
    reader, writer = await open_stream(worker_end)
    calls = [asyncio.create_task(client.call("resume", "store", None)) for _ in range(2)]
    lines = [await reader.readline() for _ in calls]
    assert all(line.endswith(b"\n") for line in lines)
    assert [json.loads(line) for line in lines] == [
        {"id": 0, "method": "resume", "params": ["store", None]},
        {"id": 1, "method": "resume", "params": ["store", None]},
    ]
    writer.write(b'{"id": 1, "result": "second"}\n{"id": 0, "result": "first"}\n')
    assert await asyncio.gather(*calls) == ["first", "second"]
    writer.close()
    await client.close()


async def test_a_reply_is_one_line_of_json() -> None:
    async def fail() -> None:
        raise SpoolFull("the spool is full")

    supervisor_end, worker_end = socket.socketpair()
    worker_reader, worker_writer = await open_stream(worker_end)
    serving = asyncio.create_task(serve_calls(worker_reader, worker_writer, {"echo": echo, "fail": fail}))
    reader, writer = await open_stream(supervisor_end)

    async def call(message: JsonObject) -> JsonObject:
        writer.write(json.dumps(message).encode() + b"\n")
        line = await reader.readline()
        assert line.endswith(b"\n")
        return dict(json.loads(line))

    assert await call({"id": 7, "method": "echo", "params": [1]}) == {"id": 7, "result": [1]}
    assert await call({"id": 8, "method": "fail", "params": []}) == {
        "id": 8,
        "error": {"type": "SpoolFull", "message": "the spool is full"},
    }
    writer.close()
    await asyncio.wait_for(serving, 5.0)
    worker_writer.close()
