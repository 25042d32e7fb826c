"""Children that say anything: nothing is believed that breaks the protocol, and nothing is waited for too long."""

from __future__ import annotations

import signal
import time

import pytest

from schemas.settings import KafkaSettings
from transport.batch_trials.child import BatchChild, ChildReport
from transport.batch_trials.pipe import Unproven
from transport.batch_trials.program import TOO_LARGE, UNREADABLE
from transport.batches import UnreadableBatch
from transport.headers import message_headers

READY = '{"ready": true}\n'
BEGIN = '{"begin": 7, "high": 12}\n'
MESSAGE = '{"offset": 8, "timestamp": [1, 5], "headers": {"lot": "37"}, "key": null, "value": 3}\nabc'


def read(says: str | bytes, then: str = "", *, is_stopped: bool = False, limit_s: float = 3.0) -> ChildReport:
    """Read with a child that says something and does something."""
    says = says if isinstance(says, bytes) else says.encode()
    program = f"import os, sys, time, signal, resource\nos.write(1, {says!r})\n{then}"
    child = BatchChild(
        KafkaSettings("localhost:1"), time.monotonic() + limit_s, lambda: is_stopped, command=("-S", "-c", program)
    )
    try:
        return child.read("frames", 0, 7, count=2, size_bytes=100)
    finally:
        child.end()


def test_a_child_that_keeps_the_protocol_is_believed() -> None:
    report = read(READY + BEGIN + MESSAGE + '{"end": 11}\n')
    assert (report.begin, report.high, report.following, report.killed) == (7, 12, 11, None)
    [message] = report.messages
    assert not isinstance(message, UnreadableBatch)
    assert (message.topic(), message.partition(), message.offset(), message.timestamp()) == ("frames", 0, 8, (1, 5))
    assert (message.key(), message.value(), message_headers(message)) == (None, b"abc", {"lot": b"7"})


def test_a_batch_that_the_child_has_skipped_stands_in_its_place() -> None:
    report = read(READY + BEGIN + '{"first": 5, "following": 8, "why": "too large"}\n' + MESSAGE + '{"end": 9}\n')
    assert report.messages[0] == UnreadableBatch("frames", 0, 7, 8, "too large")
    assert (len(report.messages), report.following) == (2, 9)


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("os.abort()", "more than 288 MiB"),
        (f"os._exit({TOO_LARGE})", "more than 288 MiB"),
        (f"os._exit({UNREADABLE})", "does not unpack"),
        ("os.kill(os.getpid(), signal.SIGPROF); time.sleep(9)", "2 s of processor time"),
        ("os.kill(os.getpid(), signal.SIGSEGV); time.sleep(9)", "signal 11"),
    ],
)
def test_a_death_says_which_batch_it_was(then: str, why: str) -> None:
    then = f"resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n{then}"
    report = read(READY + BEGIN + MESSAGE, then)
    assert report.killed is not None
    assert why in report.killed
    assert (report.following, len(report.messages)) == (9, 1)
    assert read(READY + BEGIN + MESSAGE[:-2], then).following == 7  # it died while it sent


@pytest.mark.parametrize(
    "then", [f"os.kill(os.getpid(), signal.{signal.SIGKILL.name}); time.sleep(9)", "os._exit(1)", "os._exit(0)"]
)
def test_an_end_of_another_kind_proves_nothing(then: str) -> None:
    with pytest.raises(Unproven, match="status"):
        read(READY + BEGIN + MESSAGE, then)


@pytest.mark.parametrize(
    "says",
    [
        "",
        READY,
        "[]\n",
        "{\n",
        b"\xff\xfe\x00\n",
        "[" * 100_000 + "\n",
        '{"ready": 1}\n',
        BEGIN,
        READY + '{"begin": 7}\n',
        READY + '{"begin": 6, "high": 12}\n',
        READY + '{"begin": 13, "high": 12}\n',
        READY + '{"begin": "7", "high": 12}\n',
        READY + '{"begin": true, "high": 12}\n',
        READY + '{"begin": 7, "high": 1e400}\n',
        READY + f'{{"begin": 7, "high": {2**63}}}\n',
        READY + BEGIN + '{"end": null}\n',
        READY + BEGIN + "{}\n",
        READY + BEGIN + '{"first": 8, "following": 8, "why": ""}\n',
        READY + BEGIN + '{"first": null, "following": 9}\n',
        READY + BEGIN + MESSAGE + MESSAGE,
        READY + BEGIN + MESSAGE.replace("8", "6"),
        READY + BEGIN + MESSAGE.replace("null", "-1"),
        READY + BEGIN + MESSAGE.replace("null", "100000000"),
        READY + BEGIN + MESSAGE.replace("null", "1.5"),
        READY + BEGIN + MESSAGE.replace("[1, 5]", "[1]"),
        READY + BEGIN + MESSAGE.replace("[1, 5]", "[1, 1e999]"),
        READY + BEGIN + MESSAGE.replace('{"lot": "37"}', "[]"),
        READY + BEGIN + MESSAGE.replace('"37"', '"3"'),
        READY + BEGIN + MESSAGE.replace('"37"', "3"),
        READY + BEGIN + MESSAGE + "".join(MESSAGE.replace("8", str(number)) for number in range(8, 13)),
        READY + BEGIN + MESSAGE.replace("3}\nabc", "100}\n" + "a" * 100) + MESSAGE.replace("8", "9"),
    ],
)
def test_garbage_proves_nothing(says: str | bytes) -> None:
    with pytest.raises(Unproven):
        read(says)


@pytest.mark.parametrize("says", ["", READY, READY + BEGIN + MESSAGE])
def test_a_child_that_stands_still_is_left(says: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(Unproven, match="the time is over"):
        read(says, "time.sleep(60)")
    assert time.monotonic() - began_s < 20
    began_s = time.monotonic()
    with pytest.raises(Unproven, match="the time is over"):
        read(says, "time.sleep(60)", is_stopped=True, limit_s=40.0)
    assert time.monotonic() - began_s < 20


def test_a_line_without_an_end_is_not_kept() -> None:
    with pytest.raises(Unproven, match="protocol"):
        read("", "while True: os.write(1, bytes(1000000))")
