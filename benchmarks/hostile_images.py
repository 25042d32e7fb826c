"""Benchmark of many damaged and hostile images, inspected in a process with little memory.

    python -m benchmarks.hostile_images --count 20000

A child process with a limit on its memory loads the model that ships and inspects mutations of small images with two
threads, as a worker does. Mutations are seeded. The table shows the answers to the images, the slowest image, the peak
of memory over the idle process, and lines that libraries wrote to standard error.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

import numpy as np

from models.errors import ImageError
from models.images import decode
from models.opencv import cv2

_MIB = 1024 * 1024
_SEED_WH = (96, 64)
#: Numbers that replace lengths, counts and offsets.
_EDGES = (0, 1, 2, 7, 255, 256, 4095, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1)

Mutation = Callable[[bytearray, random.Random, list[bytes]], bytes]


def seed_images() -> list[bytes]:
    """Return healthy files of many kinds: 8 and 16 bits, grey, colour and alpha, by several encoders' settings."""
    rng = np.random.default_rng(0)
    width, height = _SEED_WH
    grey = cv2.GaussianBlur(rng.integers(0, 256, (height, width), np.uint8), (5, 5), 1)
    colour = cv2.merge([grey, 255 - grey, cv2.blur(grey, (9, 9))])
    alpha, deep = np.dstack([colour, grey]), grey.astype(np.uint16) * 257
    settings: list[tuple[str, np.ndarray, list[int]]] = [
        (".png", grey, []), (".png", colour, []), (".png", alpha, []), (".png", deep, []),
        (".png", grey, [cv2.IMWRITE_PNG_BILEVEL, 1]), (".bmp", grey, []), (".bmp", colour, []), (".bmp", alpha, []),
        (".jpg", grey, []), (".jpg", colour, []), (".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), (".jpg", colour, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        (".jpg", colour, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]),
    ]  # fmt: skip
    for compression in (1, 5, 8, 32946, 32773):
        settings += [(".tiff", each, [cv2.IMWRITE_TIFF_COMPRESSION, compression]) for each in (grey, colour, deep)]
    return [cv2.imencode(suffix, image, options)[1].tobytes() for suffix, image, options in settings]


def _flip_bits(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _head(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    """Change bytes among the first 200, which contain the headers."""
    for _time in range(rng.randint(1, 4)):
        data[rng.randrange(min(200, len(data)))] = rng.randrange(256)
    return bytes(data)


def _cut(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _remove(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 16, 400))]
    return bytes(data)


def _insert(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    at = rng.randrange(len(data))
    data[at:at] = rng.choice((rng.randbytes(rng.randint(1, 64)), bytes(rng.randint(1, 400))))
    return bytes(data)


def _zeros(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    at = rng.randrange(len(data))
    count = min(rng.choice((4, 64, 400)), len(data) - at)
    data[at : at + count] = bytes(count)
    return bytes(data)


def _number(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    """Replace a number of 2 or 4 bytes, in either order: a length, a count, an offset."""
    size, order = rng.choice((2, 4)), rng.choice("<>")
    near_ends = rng.choice((min(len(data), 300), len(data)))
    at = rng.randrange(max(1, near_ends - size))
    if rng.random() < 0.3:  # the directory of a TIFF is at the end of the file
        at = max(0, len(data) - 1 - rng.randrange(min(len(data), 300)))
    data[at : at + size] = struct.pack(order + {2: "H", 4: "I"}[size], rng.choice(_EDGES) % 2 ** (8 * size))
    return bytes(data)


def _repeat(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    """Repeat a piece, such as scans or chunks."""
    at = rng.randrange(len(data))
    piece = data[at : at + rng.randint(1, 400)]
    data[at:at] = piece * rng.choice((1, 2, 50))
    return bytes(data)


def _splice(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    return bytes(data[: rng.randrange(len(data))]) + other[rng.randrange(len(other)) :]


def _png_numbers(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    """Replace sizes in the header of a PNG, with a correct check sum; in other formats replace a number."""
    import zlib

    if data[:4] != b"\x89PNG":
        return _number(data, rng, others)
    data[16:24] = struct.pack(">II", *(rng.choice((1, 64, 96, 10_000, 30_000, 2**31 - 1)) for _ in range(2)))
    data[24], data[25] = rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6))
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def _jpeg_size(data: bytearray, rng: random.Random, others: list[bytes]) -> bytes:
    """Replace the size in the header of a JPEG; in other formats replace a number."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if data[:2] != b"\xff\xd8" or at < 0:
        return _number(data, rng, others)
    data[at + 5 : at + 9] = struct.pack(">HH", *(rng.choice((0, 1, 64, 9_000, 16_000, 65_535)) for _ in range(2)))
    return bytes(data)


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _head, _cut, _remove, _insert, _zeros, _number, _number, _repeat, _splice, _png_numbers, _jpeg_size,
)  # fmt: skip


def mutated(count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield mutations of `seed_images`, the same for the same seed."""
    rng, seeds = random.Random(seed), seed_images()
    for _ in range(count):
        yield rng.choice(MUTATIONS)(bytearray(rng.choice(seeds)), rng, seeds)


def _status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _inspect(data: bytes) -> tuple[str, float]:
    """Return the kind of the answer, and the processor seconds of one colour and one reduced grey decode."""
    began = time.thread_time()
    kind = "decoded"
    for colour, needed_wh in ((True, None), (False, (24, 16))):
        try:
            decode(data, colour=colour, needed_wh=needed_wh)
        except ImageError as error:
            kind = error.kind
    return kind, time.thread_time() - began


def _child(count: int, seed: int, limit_mib: int, files: list[Path]) -> dict[str, object]:
    from models import default_model_path, inspect_image, load_model

    model = load_model(default_model_path())
    inspect_image(seed_images()[0], model)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * _MIB,) * 2)
    threading.stack_size(1 * _MIB)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak of memory
    idle_kib = _status_kib("VmRSS")
    kinds: Counter[str] = Counter()
    slowest, at_slowest = 0.0, 0
    given = [path.read_bytes() for path in files] * 2
    images = chain(given, mutated(count, seed))
    number = 0
    with ThreadPoolExecutor(2) as pool:
        while batch := list(islice(images, 64)):
            for kind, seconds in pool.map(_inspect, batch):
                kinds[kind] += 1
                if seconds > slowest:
                    slowest, at_slowest = seconds, number
                number += 1
    return {
        "images": number,
        "answers": dict(kinds),
        "slowest_s": round(slowest, 3),
        "slowest_number": at_slowest,
        "over_idle_mib": round((_status_kib("VmHWM") - idle_kib) / 1024, 1),
    }


def run(count: int, seed: int = 0, limit_mib: int = 1024, files: list[Path] | None = None) -> dict[str, object]:
    """Inspect mutations in a child process; return the findings, with ``died`` and ``stderr_lines`` of the child."""
    command = [sys.executable, "-m", "benchmarks.hostile_images", "--child", "--count", str(count), "--seed", str(seed)]
    command += ["--limit-mib", str(limit_mib), *map(str, files or [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, object] = json.loads(done.stdout) if done.returncode == 0 else {"status": done.returncode}
    lines = done.stderr.splitlines()
    return {**found, "died": done.returncode != 0, "stderr_lines": len(lines), "stderr": lines[-5:]}


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-mib", type=int, default=1024, help="memory of the child (RLIMIT_DATA)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help="further images to inspect")
    given = parser.parse_args()
    work = _child if given.child else run
    found = work(given.count, given.seed, given.limit_mib, given.files)
    print(json.dumps(found, indent=None if given.child else 2))  # noqa: T201


if __name__ == "__main__":
    main()
