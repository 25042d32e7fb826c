"""Cores and memory are those of the process, not of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transport.machine import usable_cores, usable_memory_bytes

BOUND = len(os.sched_getaffinity(0))


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "membership", "files", "cores"),
    [
        ("no groups", "", {}, BOUND),
        ("no quota", "0::/\n", {"cpu.max": "max 100000\n"}, BOUND),
        ("version 2", "0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("a part of a core", "0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("more than the machine", "0::/\n", {"cpu.max": "99900000 100000\n"}, BOUND),
        ("no period", "0::/\n", {"cpu.max": "100000\n"}, 1),
        ("a parent's", "0::/pod/box\n", {"pod/cpu.max": "50000 100000\n", "pod/box/cpu.max": "max 100000\n"}, 1),
        ("the path of the host", "0::/docker/1a2b\n", {"cpu.max": "100000 100000\n"}, 1),
        ("outside of the namespace", "0::/../../other\n", {"cpu.max": "100000 100000\n"}, 1),
        ("hybrid", "0::/box\n1:cpu:/\n", {"unified/box/cpu.max": "100000 100000\n"}, 1),
        (
            "version 1",
            "4:cpu,cpuacct:/box\n0::/\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        (
            "version 1 without",
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            BOUND,
        ),
        ("nonsense", "what\n:::\n0::/\n", {"cpu.max": "many 0\n"}, BOUND),
    ],
    ids=lambda value: value if isinstance(value, str) and value and "\n" not in value else "",
)
def test_cores(name: str, membership: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    write(tmp_path, {"membership": membership, **{f"mounted/{path}": text for path, text in files.items()}})
    assert usable_cores(tmp_path / "membership", tmp_path / "mounted") == cores


@pytest.mark.parametrize(("quota", "cores"), [("150000", 2), ("200000", 2), ("200001", 3), ("1", 1)])
def test_a_part_of_a_core_counts_as_one(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"membership": "0::/\n", "cpu.max": f"{quota} 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert usable_cores(tmp_path / "membership", tmp_path) == cores


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("", {}, 8 * 2**30),
        ("0::/\n", {"memory.max": "max\n"}, 8 * 2**30),
        ("0::/box\n", {"memory.max": "max\n", "box/memory.max": "536870912\n"}, 2**29),
        ("4:memory:/box\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8 * 2**30),
        ("4:memory:/box\n", {"memory/box/memory.limit_in_bytes": "1073741824\n"}, 2**30),
    ],
)
def test_memory(membership: str, files: dict[str, str], limit: int, tmp_path: Path) -> None:
    write(tmp_path, {"membership": membership, "meminfo": "MemTotal:  8388608 kB\nMemFree: 1 kB\n"})
    write(tmp_path / "mounted", files)
    assert usable_memory_bytes(tmp_path / "membership", tmp_path / "mounted", tmp_path / "meminfo") == limit


def test_a_worker_that_is_bound_to_a_core_has_one_thread() -> None:
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from stream_processors.worker.settings import WorkerSettings, share_of_cores\n"
        "from replay.reinspect.engine import cores\n"
        "print(share_of_cores(), WorkerSettings().threads, cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 1) 1 1"


def test_nobody_counts_the_cores_of_the_machine(repository: Path) -> None:
    sources = [
        path
        for package in (
            "actuators",
            "benchmarks",
            "infra",
            "models",
            "producers",
            "replay",
            "schemas",
            "stream_processors",
        )
        for path in (repository / package).rglob("*.py")
        if path != repository / "transport/machine.py"
    ]
    counting = [str(path) for path in sources if "cpu_count" in path.read_text(encoding="utf-8")]
    assert len(sources) > 100
    assert counting == []
