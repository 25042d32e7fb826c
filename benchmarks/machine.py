"""Description of the machine and of the versions of packages that the figures belong to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from transport.machine import usable_cores, usable_memory_bytes

#: Packages whose versions affect the figures; packages that are not installed are left out.
_PACKAGES = (
    "streaming-inspection", "confluent-kafka", "faust-streaming", "aiokafka", "onnxruntime", "opencv-python-headless",
    "fastavro", "numpy", "quixstreams", "flask", "gunicorn", "fastapi", "uvicorn", "requests", "httpx",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Return processor, cores, memory, kernel, Python, versions, and the load averages of the machine."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": usable_cores(),
        "memory_gib": round((usable_memory_bytes() or 0) / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": _versions(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }


def described(found: dict[str, Any]) -> str:
    """Return one line about the machine."""
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, Python {found['python']}, "
        f"load {found['load_before'][0]} before"
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
