"""Signals: the first one ends a command in order, whatever locks it holds, and a second one ends it at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from infra.demo.processes import inspection_command
from schemas.settings import KafkaSettings
from tests.support.terminals import ProgramOnTerminal

HEAD = """
import os, signal, sys, threading, time
from infra.cli.shared.shutdown import StopRequest, exit_on_signals, stop_on_signals
stop = threading.Event()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run it in a separate process: a process that hangs is killed and fails the test."""
    return subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_while_its_own_thread_holds_the_events_lock(number: str) -> None:
    done = run(
        f"with stop_on_signals(stop), stop._cond:\n    signal.raise_signal(signal.{number})\nprint(stop.is_set())\n"
    )
    assert (done.returncode, done.stdout.split()) == (0, ["True"]), done.stderr


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_the_exit_status_tells_which_signal_came_first(number: str, status: int) -> None:
    done = run(
        "stop = StopRequest()\n"
        "with stop_on_signals(stop):\n"
        f"    signal.raise_signal(signal.{number})\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    assert stop.wait(10)\n"
        "sys.exit(stop.status)\n"
    )
    assert (done.returncode, done.stderr) == (status, "")


def test_a_closed_terminal_asks_to_stop_in_order_however_often_it_signals() -> None:
    done = run(
        "stop = StopRequest()\n"
        "with stop_on_signals(stop):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    assert stop.wait(10)\n"
        "    time.sleep(0.5)\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    time.sleep(0.5)\n"
        "print('finished', stop.status)\n"
    )
    assert (done.returncode, done.stdout) == (0, "finished 129\n"), done.stderr


def test_a_command_of_nohup_outlives_its_terminal() -> None:
    done = run(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with stop_on_signals(stop):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    print(stop.wait(0.5))\n"
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.broker
@pytest.mark.parametrize(
    ("command", "begin", "end"),
    [
        pytest.param(["produce", "--camera", "synthetic", "--fps", "50"], ["metrics at"], "", id="produce"),
        pytest.param(["worker", "--threads", "1"], ["ready: reading"], "process: stopped", id="worker"),
        pytest.param(
            ["worker", "--threads", "1", "--processes", "2"],
            [
                "[worker 0] stream_processors.faust_host.process: ready",
                "[worker 1] stream_processors.faust_host.process: ready",
            ],
            "supervisor: stopped",
            id="workers",
        ),
        pytest.param(["watch"], ["ready: watching"], "process: stopped", id="watch"),
        pytest.param(["actuate", "--belt-ms", "500"], ["gate ready"], "", id="actuate"),
        pytest.param(["archive"], ["metrics at"], "", id="archive"),
    ],
)
def test_a_program_of_which_the_terminal_is_closed_ends_in_order(
    command: list[str], begin: list[str], end: str, line: KafkaSettings, unique: str, tmp_path: Path
) -> None:
    folder = {"produce": "--spool-dir", "archive": "--to", "actuate": "--state-dir"}.get(command[0])
    where = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix, "--http-port", "0"]
    where += [folder, str(tmp_path / "files")] if folder is not None else ["--group", unique]
    log = tmp_path / "log"
    with ProgramOnTerminal(inspection_command(*command, *where), log) as program:
        for text in begin:
            program.await_log(text)
        time.sleep(0.5)  # some frames
        program.close_terminal()
        # A program that reports what it did has nobody to tell it to.
        assert program.wait() == (0 if end else 1), log.read_text()
    text = log.read_text()
    assert end in text
    for odd in ("Traceback", "SIGHUP", "does not end", "after the publisher was closed"):
        assert odd not in text, text


def test_a_signal_while_the_lock_of_logging_is_held() -> None:
    done = run(
        "import logging\nlogging.basicConfig()\nhandler = logging.getLogger().handlers[0]\n"
        "with stop_on_signals(stop):\n"
        "    with handler.lock:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print(stop.wait(10))\n"
    )
    assert (done.returncode, done.stdout.split()) == (0, ["True"]), done.stderr


SENDER = """
import os, signal, sys, time
for line in sys.stdin:
    for _ in range(2):
        os.kill(int(sys.argv[1]), signal.SIGTERM)
        end = time.perf_counter() + 60e-6
        while time.perf_counter() < end: pass
"""


def test_two_signals_a_moment_apart_while_the_main_thread_waits() -> None:
    code = f"""
import subprocess
sender = subprocess.Popen([sys.executable, "-c", {SENDER!r}, str(os.getpid())], stdin=subprocess.PIPE, stdout=2)
for _ in range(20):
    stop = threading.Event()
    with stop_on_signals(stop):
        sender.stdin.write(b"\\n")
        sender.stdin.flush()
        while not stop.wait(0.001): pass
sender.stdin.close()
sender.wait()
print("ended")
"""
    done = run(code)
    assert (done.returncode, done.stdout.split()) == (0, ["ended"]), done.stderr


def test_a_signal_of_the_same_request_after_the_work_has_ended_ends_no_command() -> None:
    """The work ends at once, and the command has yet to say what it did."""
    code = """
def later():
    stop.wait()
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=later, daemon=True).start()
with stop_on_signals(stop):
    os.kill(os.getpid(), signal.SIGINT)
    stop.wait()
time.sleep(0.5)
print("what it did")
"""
    done = run(code)
    assert (done.returncode, done.stdout.strip()) == (0, "what it did"), done.stderr


def test_a_second_signal_ends_it_while_the_main_thread_is_in_native_code() -> None:
    # No handler of Python runs until the native call returns.
    code = """
import ctypes
def signals():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
with stop_on_signals(stop):
    threading.Thread(target=signals, daemon=True).start()
    sleep = ctypes.CDLL(None).sleep
    while True: sleep(60)
"""
    assert run(code).returncode == 128 + signal.SIGTERM


STOP = """
with stop_on_signals(stop):
    signal.raise_signal(signal.SIGINT)
    time.sleep(0.5)
    signal.raise_signal(signal.SIGINT)
    time.sleep(20)
"""
EXIT = """
with exit_on_signals():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        time.sleep(0.5)
        signal.raise_signal(signal.SIGINT)
        time.sleep(20)
"""


@pytest.mark.parametrize("code", [STOP, EXIT], ids=["stop_on_signals", "exit_on_signals"])
def test_a_second_signal_ends_at_once_with_one_line(code: str) -> None:
    done = run(code)
    assert done.returncode == 130
    assert done.stderr.splitlines() == ["error: a second signal (SIGINT): ended at once, nothing was finished"]


def test_the_cleanup_of_an_exit_is_not_interrupted_by_the_same_request() -> None:
    done = run(
        "with exit_on_signals():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print('cleaned up')\n"
    )
    assert (done.returncode, done.stdout) == (143, "cleaned up\n"), done.stderr


def test_process_1_of_a_container_ends_by_sigterm_before_the_command_handles_it() -> None:
    code = """
import time
from infra.cli import root
root.app = lambda: (print("up", flush=True), time.sleep(60))
root.main()
"""
    inside = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", code]
    if os.geteuid():
        inside[1:1] = ["--user", "--map-root-user"]
    with subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        if outer.stdout.readline() != "up\n":
            pytest.skip("this user can make no PID namespace")
        [process] = psutil.Process(outer.pid).children()
        process.terminate()
        try:
            assert outer.wait(10) == 143
        finally:
            outer.kill()


def test_handlers_are_as_before_afterwards() -> None:
    done = run(
        "before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)\n"
        "with stop_on_signals(stop): pass\n"
        "print(before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)),"
        " signal.set_wakeup_fd(-1), threading.active_count(), stop.is_set())\n"
    )
    assert done.stdout.split() == ["True", "-1", "1", "False"], done.stderr


@pytest.mark.long
@pytest.mark.broker
def test_two_signals_end_produce_and_free_its_spool(line: KafkaSettings, tmp_path: Path) -> None:
    cameras = [word for _ in range(12) for word in ("--camera", "synthetic")]
    arguments = [*cameras, "--fps", "5", "--spool-dir", str(tmp_path), "--json", "--http-port", "0"]
    where = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix]
    with subprocess.Popen(
        inspection_command("produce", *arguments, *where), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            url = next(line for line in process.stderr if "metrics at" in line).split()[-1]
            while _capturing(url) < 12:
                time.sleep(0.2)
            _twice(process)
            out, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    rows = json.loads(out)["cameras"]
    assert len(rows) == 12
    assert all(row["captured"] == row["published"] for row in rows)


def test_two_signals_while_produce_starts(tmp_path: Path) -> None:
    # Each of its cameras waits two seconds for an unreachable broker.
    cameras = [word for _ in range(12) for word in ("--camera", "synthetic")]
    arguments = [*cameras, "--bootstrap-servers", "127.0.0.1:9", "--spool-dir", str(tmp_path), "--http-port", "0"]
    with subprocess.Popen(inspection_command("produce", *arguments), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            next(line for line in process.stderr if "metrics at" in line)
            _twice(process)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, errors


def _capturing(url: str) -> int:
    """Return the number of cameras with a capture."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum("_captured_total{" in line and float(line.split()[-1]) > 0 for line in lines)


def _twice(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    end_s = time.perf_counter() + 60e-6
    while time.perf_counter() < end_s:
        pass
    process.send_signal(signal.SIGTERM)
