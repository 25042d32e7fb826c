"""Pixels and memory: one setting for all programs, and a budget that decoders share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from benchmarks.hostile_images import run
from models import ImageError, default_model_path, load_model
from models.image_limits import BUDGET, LIMITS, DecodeBudget
from models.images import decoding
from models.inspect_images import inspect_image
from schemas.errors import SettingsError
from schemas.settings import ImageSettings
from tests.support.packages import encoded, scene


def test_over_the_budget_is_refused_with_the_figures() -> None:
    with (
        pytest.raises(ImageError, match=r"a picture takes 2 MiB .* 1 MiB; INSPECTION_DECODE_MEMORY_MIB") as caught,
        DecodeBudget(2**20).share(2**20 + 1, "a picture"),
    ):
        pass
    assert caught.value.kind == "image-too-large"


def test_several_at_once_wait_for_their_share() -> None:
    budget, most, lock = DecodeBudget(100), 0, threading.Lock()
    held = 0

    def work(needed: int) -> None:
        nonlocal held, most
        for _ in range(50):
            with budget.share(needed, "a picture"):
                with lock:
                    held += needed
                    most = max(most, held)
                with lock:
                    held -= needed

    threads = [threading.Thread(target=work, args=(needed,)) for needed in (10, 40, 60, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert most <= 100
    assert budget.used_bytes == 0


def test_the_wait_for_memory_is_told_and_is_no_decoding() -> None:
    data, model, held = encoded(scene(640, 480)), load_model(default_model_path()), threading.Event()

    def hold() -> None:
        with BUDGET.share(LIMITS.memory_bytes, "all of it"):
            held.set()
            time.sleep(0.5)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)
    inspection = inspect_image(data, model)
    other.join()
    assert inspection.waited_ms > 300
    assert inspection.durations_ms["decode"] < inspection.waited_ms


def test_a_decoded_image_holds_its_share_until_it_is_done_with() -> None:
    data = encoded(scene(640, 480))
    with decoding(data) as decoded:
        assert BUDGET.used_bytes >= decoded.pixels.nbytes
    assert BUDGET.used_bytes == 0


def test_an_error_gives_the_share_back() -> None:
    data = encoded(scene(64, 48), ".jpg")
    with pytest.raises(ImageError), decoding(data[: len(data) // 2] + b"\xff\xd9"):
        pass
    assert BUDGET.used_bytes == 0


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "10000000", "\u0661"])
def test_an_impossible_limit_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="INSPECTION_MAX_IMAGE_MEGAPIXELS"):
        ImageSettings.from_env({"INSPECTION_MAX_IMAGE_MEGAPIXELS": text})


@pytest.mark.parametrize(
    ("megapixels", "size", "expected"),
    [("1", (1001, 1000), "image-too-large"), ("2", (1001, 1000), "decoded"), ("", (1001, 1000), "decoded")],
)
def test_the_limit_is_a_setting_and_opencv_follows_it(megapixels: str, size: tuple[int, int], expected: str) -> None:
    code = """
import os, sys
from models import ImageError
from models.images import decode
try:
    decode(sys.stdin.buffer.read())
    print("decoded")
except ImageError as error:
    assert "INSPECTION_MAX_IMAGE_MEGAPIXELS" in str(error), error
    print(error.kind)
print(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"])
"""
    environment = {**os.environ, "INSPECTION_MAX_IMAGE_MEGAPIXELS": megapixels, "OPENCV_IO_MAX_IMAGE_PIXELS": "7"}
    data = encoded(np.zeros(size[::-1], np.uint8))
    done = subprocess.run([sys.executable, "-c", code], input=data, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().split() == [expected, f"{megapixels or 100}000000"]


def test_mutated_images_in_a_process_with_little_memory() -> None:
    found = run(400, seed=1)
    assert not found["died"], found
    assert found["stderr_lines"] == 0, found
    answers = found["answers"]
    assert isinstance(answers, dict)
    assert set(answers) <= {"decoded", "unreadable-image", "image-too-large"}
    assert answers["unreadable-image"] > 100
    assert isinstance(found["over_idle_mib"], float)
    assert found["over_idle_mib"] < 300
