"""A process returns the memory of large images, and keeps that of common frames."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Blocks of 16 MiB are freed while a small block lies above them: from a heap, they would not return to the system.
_PROBE = """
import ctypes, resource, sys
from stream_processors.worker.allocator import return_large_blocks
assert return_large_blocks() == (sys.argv[1] == "ours")
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
def block(mib):
    size = int(mib * (1 << 20))
    at = libc.malloc(size)
    ctypes.memset(at, 1, size)
    return at
def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20
libc.free(block(17))
before = resident_mib()
blocks = [block(16) for _ in range(4)]
above = libc.malloc(1000 << 10)
for each in blocks:
    libc.free(each)
held = resident_mib() - before
common = [block(0.5) for _ in range(4)]
for each in common:
    libc.free(each)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    common = [block(0.5) for _ in range(4)]
    for each in common:
        libc.free(each)
print(held, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is a function of glibc")


def _probe(what: str, **environment: str) -> tuple[int, int]:
    names = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", _PROBE, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**clean, **environment})
    held_mib, faults = map(int, done.stdout.split())
    return held_mib, faults


def test_freed_large_blocks_return_to_the_system_and_common_ones_cause_no_page_faults() -> None:
    held_mib, faults = _probe("ours")
    assert held_mib < 8
    assert faults < 100


def test_settings_of_the_user_take_precedence() -> None:
    held_mib, _ = _probe("of the user", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=33554432")
    assert held_mib > 48
