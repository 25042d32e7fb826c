"""Clients of a worker beside the one that reads frames: a batch that takes all memory ends none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas import KafkaSettings
from tests.support.bombs import send_bomb

pytestmark = pytest.mark.broker

#: What each program may take, and what the batch unpacks to.
MEMORY_BYTES, BOMB_BYTES = 320 * 1024**2, 350_000_000

WATCHDOG = """
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.watchdog import Watchdog
watchdog = Watchdog(kafka, kafka.prefix, lambda: {0}, 3600, WorkerMetrics())
print(watchdog._is_hollow(0, 0), watchdog._is_hollow(0, 1))
"""
RETRIES = """
from models import FramePosition
from schemas import Codec
from schemas.clock import SystemClock
from stream_processors.worker.frame_task import FrameMessage
from stream_processors.worker.retries import RETRY_HEADER, Retries
retries = Retries(kafka, Codec(), SystemClock())
message = FrameMessage(b"", b"s/c", {RETRY_HEADER: b"0-0"}, FramePosition(kafka.frames, 0, 9, 0))
print(retries.is_retry(message))
"""


@pytest.mark.parametrize(("program", "said"), [(WATCHDOG, "False True"), (RETRIES, "False")])
def test_a_batch_that_takes_all_memory_ends_no_worker(
    line: KafkaSettings, repository: Path, program: str, said: str
) -> None:
    for topic in (line.frames, line.dead_letters):
        send_bomb(line.bootstrap_servers, topic, partition=0, codec="lz4", size=BOMB_BYTES)
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY_BYTES}, {MEMORY_BYTES}))\n"
    settings = (
        f"from schemas import KafkaSettings; kafka = KafkaSettings({line.bootstrap_servers!r}, {line.prefix!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limits + settings + program],
        capture_output=True, text=True, check=False, timeout=90, cwd=repository,
    )  # fmt: skip
    assert done.stdout.strip() == said, done
