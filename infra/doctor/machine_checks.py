"""Checks of the machine: interpreter, packages, Java, disk, clock."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path

from infra.doctor.check import Check, Status
from infra.doctor.clock_sync import is_clock_synchronised
from transport.machine import usable_cores, usable_memory_bytes

_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_MEMORY_WARN_GIB = 1
_DISK_FAIL_MIB = 200
_DISK_WARN_MIB = 2_000
_CLOCK_SAMPLE_S = 0.25
_CLOCK_DRIFT_S = 0.2
#: A clock that shows an earlier year is wrong, for example because the battery of the clock is empty.
_FIRST_YEAR, _LAST_YEAR = 2025, 2100


def python() -> Check:
    """Show the Python interpreter; a version that is too old cannot run this code at all."""
    return Check("Python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def packages() -> Check:
    """Check that the packages that Kafka and the models need can be imported."""
    missing = [
        name
        for name in ("confluent_kafka", "faust", "aiokafka", "fastavro", "onnxruntime", "river", "numpy")
        # Faust replaces its own entry in sys.modules, and find_spec fails on the new entry.
        if name not in sys.modules and importlib.util.find_spec(name) is None
    ]
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", "`pip install streaming-inspection`")
    from models.runtime import ort

    return Check("packages", "ok", f"onnxruntime {ort.__version__}, {', '.join(_providers(ort))}")


def _providers(onnxruntime: object) -> list[str]:
    get = getattr(onnxruntime, "get_available_providers")  # noqa: B009 - the module ships without types
    return [str(provider).removesuffix("ExecutionProvider") for provider in get()]


def opencv() -> Check:
    """Check that OpenCV can be imported and decodes a JPEG; a build with windows needs libGL, which servers lack."""
    import cv2
    import numpy as np

    done, data = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))
    if not done or cv2.imdecode(data, cv2.IMREAD_COLOR) is None:
        return Check("OpenCV", "fail", f"{cv2.__version__} cannot decode a JPEG", "install opencv-python-headless")
    return Check("OpenCV", "ok", str(cv2.__version__))


def java() -> Check:
    """Check that there is a Java for the local broker; a cluster on other machines needs no Java here."""
    from infra.broker.errors import BrokerError
    from infra.broker.java import find_java, java_version

    try:
        found = find_java()
    except BrokerError as error:
        return Check("Java", "warn", str(error), "only `inspection broker` and `inspection demo` need it")
    return Check("Java", "ok", f"{java_version(found)}, {found}")


def kafka_jars() -> Check:
    """Check that there is a Kafka for the local broker: a distribution, or jars that were fetched earlier."""
    from infra.broker.kafka_jars import cache_dir, is_intact, kafka_version, locked_jars

    home = os.environ.get("KAFKA_HOME")
    if home:
        if any((Path(home) / "libs").glob("kafka_2.13-*.jar")):
            return Check("Kafka", "ok", f"distribution {home}")
        return Check("Kafka", "fail", f"KAFKA_HOME={home} has no libs/kafka_2.13-*.jar", "correct or unset KAFKA_HOME")
    jars = locked_jars()
    present = [jar for jar in jars if is_intact(cache_dir() / jar.filename, jar)]
    if len(present) < len(jars):
        detail = f"{len(present)} of {len(jars)} jars of Kafka {kafka_version()} in {cache_dir()}"
        return Check("Kafka", "warn", detail, "the first `inspection broker start` fetches them (45 MB)")
    return Check("Kafka", "ok", f"{kafka_version()}, {len(jars)} jars intact in {cache_dir()}")


def disk(data_dir: Path | None = None) -> Check:
    """Check the free disk space for the local broker and for the spools of producers."""
    from schemas.connection.local_broker import default_data_dir

    wanted = (data_dir or default_data_dir()).absolute()
    # The first start creates the directory: until then, check the nearest existing parent.
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    free_mib = shutil.disk_usage(there).free // _MIB
    detail = f"{free_mib / 1024:.1f} GiB free at {there}"
    if not os.access(there, os.W_OK):
        return Check("disk", "fail", f"{there} is not writable", "choose another directory with --data-dir")
    if free_mib < _DISK_WARN_MIB:
        status: Status = "fail" if free_mib < _DISK_FAIL_MIB else "warn"
        return Check("disk", status, detail, "free some space, or choose another directory with --data-dir")
    return Check("disk", "ok", detail)


def resources() -> Check:
    """Check cores and memory that this process may use, which can be less than the machine has."""
    cores, memory = usable_cores(), usable_memory_bytes()
    detail = f"{cores} cores"
    if memory is not None:
        detail += f", {memory / _GIB:.1f} GiB of memory"
        if memory < _MEMORY_WARN_GIB * _GIB:
            remedy = "a worker of one process with a small --buffer-mib needs about 0.5 GiB; give the container more"
            return Check("resources", "warn", detail, remedy)
    return Check("resources", "ok", detail)


def clock() -> Check:
    """Check that UTC is plausible, synchronised according to the kernel, and as fast as the monotonic clock."""
    year = time.gmtime().tm_year
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return Check("clock", "fail", f"the year is {year}", "set the clock; deadlines and retention depend on it")
    wall, steady = time.time(), time.monotonic()
    time.sleep(_CLOCK_SAMPLE_S)
    drift_s = (time.time() - wall) - (time.monotonic() - steady)
    if abs(drift_s) > _CLOCK_DRIFT_S:
        return Check("clock", "fail", f"jumped {drift_s * 1000:+.0f} ms just now", "let one program set the clock")
    synchronised = is_clock_synchronised()
    if synchronised is None:
        return Check("clock", "ok", "plausible; this machine does not say whether it is synchronised")
    if not synchronised:
        return Check("clock", "warn", "plausible, not synchronised", "run chrony or another NTP client")
    return Check("clock", "ok", "synchronised")
