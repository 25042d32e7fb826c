"""Checks of `inspection doctor`: one small function for each check; it returns a `Check`.

``fail`` means that a command will not work. ``warn`` means that commands work, but in a way that may surprise. A check
never raises for a fault of the machine: our own errors, and errors of the system or of a package, are its result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from infra.doctor import machine_checks as machine
from infra.doctor import project_checks as ours
from infra.doctor.broker_clock import broker_clock
from infra.doctor.check import Check, Status
from schemas.errors import InspectionError
from schemas.settings import KafkaSettings

__all__ = ["Check", "Status", "examine"]


def examine(kafka: KafkaSettings, data_dir: Path | None = None) -> list[Check]:
    """Run all checks, in the order in which faults should be repaired.

    Parameters
    ----------
    kafka
        Cluster to check.
    data_dir
        Data directory of the local broker. None: the user's default folder.
    """
    checks = [
        _guarded("Python", machine.python),
        _guarded("packages", machine.packages),
        _guarded("OpenCV", machine.opencv),
        _guarded("Java", machine.java),
        _guarded("Kafka", machine.kafka_jars),
        _guarded("disk", partial(machine.disk, data_dir)),
        _guarded("resources", machine.resources),
        _guarded("clock", machine.clock),
        _guarded("schemas", ours.schemas_known),
        _guarded("model", ours.model),
        _guarded("demo images", ours.demo_images),
        _guarded("schema registry", partial(ours.schema_registry, kafka)),
        _guarded("broker", partial(ours.broker, kafka)),
    ]
    if checks[-1].status == "fail":
        return [*checks, Check("topics", "warn", "not looked at: no broker answers")]
    return [
        *checks,
        _guarded("broker's clock", partial(broker_clock, kafka)),
        _guarded("topics", partial(ours.topics, kafka)),
    ]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except InspectionError as error:
        return Check(name, "fail", str(error))
    except ImportError as error:
        return Check(name, "fail", str(error), "install the package again: `pip install streaming-inspection`")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        return Check(name, "fail", f"{type(error).__name__}: {error}")
