"""The commands `backfill` and `send` as processes, against a running gateway and sandbox."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environment import TOKEN, WRITE_KEY, Environment, until
from tests.importer.files import HEADER, sale, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with Environment(tmp_path_factory.mktemp("backfill")) as environment:
        environment.start()
        yield environment


def start(
    env: Environment, *arguments: str, command: str = "backfill", key: str = WRITE_KEY, encoding: str = "utf-8"
) -> subprocess.Popen[str]:
    options = ["--url", env.url, "--write-key", key]
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", command, *arguments, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding=encoding,
        cwd=TOP,
        env={**os.environ, "TEST_META_TOKEN": TOKEN},
    )


def run(
    env: Environment, *arguments: str, stdin: str = "", command: str = "backfill", key: str = WRITE_KEY
) -> tuple[int, str, str]:
    """Run a command; its exit status, output and error output."""
    process = start(env, *arguments, command=command, key=key)
    out, err = process.communicate(stdin, timeout=60)
    return process.returncode, out, err


def arrivals(env: Environment, prefix: str) -> Counter[str]:
    """Events at the sandbox with an order ID that begins with `prefix`, by order ID."""
    until(lambda: env.ledger()["waiting"] == 0, "the delivery of all events")
    orders = [event["custom_data"]["order_id"] for event in env.arrived()]
    return Counter(order for order in orders if order.startswith(prefix))


def at(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600 - number))


def recent(prefix: str, number: int, **changes: str) -> str:
    """A row of a sale that Meta still accepts."""
    return sale(number, **{"event_time": at(number), "order_id": f"{prefix}-{number}", **changes})


def test_the_preview_shows_the_mapping_and_sends_nothing_unless_it_is_confirmed(
    env: Environment, tmp_path: Path
) -> None:
    name = write(tmp_path, recent("pre", 1), recent("pre", 2, event_time="soon"), recent("pre", 3, email=""))
    status, out, err = run(env, name, "--config", str(env.folder / "gateway.toml"))
    assert status == 2
    assert "nothing was sent; add --yes" in err
    assert "the first 3 rows: 1 would be sent, 0 skipped, 2 rejected" in out
    assert "events: Order Completed (2)" in out
    assert "match keys of store: email 50%" in out
    assert "line 3: bad_time: " in out
    assert "line 4: no_match_key: " in out
    assert "customer1" not in out + err
    assert not Path(f"{name}.backfill").exists()
    assert not arrivals(env, "pre")


def test_good_rows_arrive_and_bad_rows_are_written(env: Environment, tmp_path: Path) -> None:
    name = write(tmp_path, recent("yes", 1), recent("yes", 2, event_time="soon"), recent("yes", 3, email=""))
    status, out, _ = run(env, name, "--yes")
    assert status == 1
    assert "3 rows: 1 accepted, 0 ignored, 2 rejected, 0 skipped" in out
    assert f"rejected rows: {name}.rejected.csv" in out
    lines = Path(f"{name}.rejected.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["3", "bad_time"], ["4", "no_match_key"]]
    assert arrivals(env, "yes") == {"yes-1": 1}
    status, out, _ = run(env, name, "--yes")
    assert status == 0
    assert "it was imported completely" in out
    assert arrivals(env, "yes") == {"yes-1": 1}


@pytest.mark.parametrize(("answer", "status", "count"), [("y", 0, 1), ("n", 2, 0)])
def test_a_terminal_is_asked_and_shows_a_progress_bar(
    env: Environment, tmp_path: Path, answer: str, status: int, count: int
) -> None:
    name = write(tmp_path, recent(f"tty-{answer}", 1))
    controller, terminal = os.openpty()
    arguments = ["backfill", name, "--url", env.url, "--write-key", WRITE_KEY]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=TOP,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
    )
    os.close(terminal)
    shown = read_until(controller, b"[y/N]")
    os.write(controller, f"{answer}\n".encode())
    shown += read_until(controller, None)
    assert process.wait(30) == status
    os.close(controller)
    assert (b"100%" in shown) == (answer == "y")
    assert arrivals(env, f"tty-{answer}").total() == count


def read_until(controller: int, expected: bytes | None) -> bytes:
    """What a terminal shows until a text, or until the process has closed it."""
    shown = b""
    while expected is None or expected not in shown:
        try:
            piece = os.read(controller, 65_536)
        except OSError:  # closed
            piece = b""
        if not piece:
            assert expected is None, shown
            break
        shown += piece
    return shown


def test_a_restart_sends_all_rows_again_and_the_gateway_recognises_them(env: Environment, tmp_path: Path) -> None:
    name = write(tmp_path, recent("again", 1))
    assert run(env, name, "--yes")[0] == 0
    status, out, _ = run(env, name, "--yes", "--restart")
    assert status == 0
    assert "1 rows: 0 accepted, 1 ignored" in out
    assert arrivals(env, "again") == {"again-1": 1}


def test_a_pattern_imports_each_file(env: Environment, tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path, recent("glob", number), name=f"day-{number}.csv")
    status, out, _ = run(env, str(tmp_path / "day-*.csv"), "--yes")
    assert status == 0, out
    assert arrivals(env, "glob") == {"glob-1": 1, "glob-2": 1}


def test_standard_input_is_imported(env: Environment) -> None:
    content = "\n".join([HEADER, recent("stdin", 1), ""])
    status, out, err = run(env, "-", "--format", "csv", "--yes", stdin=content)
    assert status == 0, err
    assert "1 rows: 1 accepted" in out
    assert arrivals(env, "stdin") == {"stdin-1": 1}


def test_what_standard_input_cannot_be_read_as_is_an_error_with_its_line(env: Environment) -> None:
    content = "\n".join([HEADER, *(recent("bytes", number) for number in range(1200)), "Gr\u00fc\u00dfe"])
    process = start(env, "-", "--format", "csv", "--yes", encoding="latin-1")
    _, err = process.communicate(content, timeout=60)
    assert process.returncode == 1
    assert "a byte that cannot be decoded; give --encoding" in err
    assert "standard input was not imported completely" in err
    assert "Traceback" not in err


def test_a_wrong_key_ends_the_import_at_once(env: Environment, tmp_path: Path) -> None:
    name = write(tmp_path, *(recent("key", number) for number in range(300)))
    status, _, err = run(env, name, "--yes", key="wrong")
    assert status == 1
    assert "answered with status 401: unknown_write_key" in err
    assert "0 rows are imported" in err
    assert "wrong" not in Path(f"{name}.backfill").read_text()


def test_init_writes_settings_that_are_used(env: Environment, tmp_path: Path) -> None:
    name = write(tmp_path, recent("init", 1, event_time=at(1).replace("T", " ").rstrip("Z")))
    status, out, _ = run(env, name, "--init")
    assert status == 0
    assert "to decide: line 2: The time has no UTC offset" in out
    path = Path(f"{name}.toml")
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(text)["columns"]["event_time"] == "event_time"
    assert "# line 2: rejected, no_time_zone" in text
    path.write_text(text.replace('# time_zone = "Europe/Berlin"', 'time_zone = "UTC"'))
    assert run(env, name, "--yes")[0] == 0
    assert arrivals(env, "init") == {"init-1": 1}
    status, _, err = run(env, name, "--init")
    assert status == 1
    assert "exists; edit it, or move it away" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_import_in_order_and_the_next_run_continues(
    env: Environment, tmp_path: Path, number: signal.Signals
) -> None:
    prefix = f"sig{int(number)}"
    name = write(tmp_path, *(recent(prefix, row) for row in range(400)))
    process = start(env, name, "--yes", "--rate", "100")
    until(lambda: '"rows": 0,' not in progress_of(name), "the first rows")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Run the same command within an hour (dedup.age) to continue" in err
    status, out, _ = run(env, name, "--yes")
    assert status == 0
    assert "rows were imported before; the import continues after them" in out
    assert "400 rows: 400 accepted, 0 ignored" in out
    counts = arrivals(env, prefix)
    assert len(counts) == counts.total() == 400


def test_a_second_signal_stops_an_import_whose_gateway_does_not_answer(tmp_path: Path) -> None:
    name = write(tmp_path, recent("hang", 1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = ["--yes", "--write-key", "wk", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}"]
        command = [sys.executable, "-m", "gateway", "backfill", name, *options]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=TOP)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "0 rows are imported. Run the same command" in err


def progress_of(name: str) -> str:
    path = Path(f"{name}.backfill")
    return path.read_text() if path.exists() else '"rows": 0,'


def test_an_import_survives_a_restart_of_the_gateway(env: Environment, tmp_path: Path) -> None:
    port = env.url.rpartition(":")[2]
    settings = env.folder / "gateway.toml"
    settings.write_text(settings.read_text().replace("[server]\nport = 0", f"[server]\nport = {port}"))
    name = write(tmp_path, *(recent("restart", row) for row in range(600)))
    process = start(env, name, "--yes", "--rate", "300")
    until(lambda: '"rows": 0,' not in progress_of(name), "the first rows")
    assert env.gateway is not None
    env.gateway.stop()
    env.start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "600 rows: 600 accepted" in out
    counts = arrivals(env, "restart")
    assert len(counts) == counts.total() == 600


def test_send_reports_bad_lines_by_number_and_sends_the_others(env: Environment, tmp_path: Path) -> None:
    call = {
        "type": "track",
        "event": "Order Completed",
        "originalTimestamp": at(1),
        "context": {"traits": {"email": "a@example.com"}},
        "properties": {"order_id": "send-1", "total": 9, "currency": "EUR"},
    }
    without_customer = {**call, "context": {}}
    path = tmp_path / "events.jsonl"
    path.write_text(f"{json.dumps(call)}\n{{broken\n\n[1]\n{json.dumps(without_customer)}\n{json.dumps(call)}\n")
    status, out, err = run(env, str(path), command="send")
    assert status == 1
    assert out == "accepted 2, ignored 0, rejected 3\n"
    rejections = [json.loads(line) for line in err.splitlines()]
    assert [(each["line"], each["code"]) for each in rejections] == [
        (2, "invalid_json"),
        (4, "not_an_object"),
        (5, "no_match_key"),
    ]
    assert run(env, "-", command="send", stdin=json.dumps(call))[:2] == (0, "accepted 1, ignored 0, rejected 0\n")
    pretty = json.dumps([call, {**call, "type": "page"}], indent=2)
    assert run(env, "-", command="send", stdin=pretty)[:2] == (0, "accepted 1, ignored 1, rejected 0\n")
    assert arrivals(env, "send") == {"send-1": 4}
