"""What `inspection doctor` looks at: one small function a check, each gives a `Check`.

``fail`` means that a command will not work, ``warn`` that it will, in a way that may surprise. A check never
raises for what can be wrong with a machine: an error of ours, of the system or of a package is its result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from infra.doctor import machine, ours
from infra.doctor.broker_clock import broker_clock
from infra.doctor.check import Check, Status
from schemas.errors import InspectionError
from schemas.settings import KafkaSettings

__all__ = ["Check", "Status", "examine"]


def examine(kafka: KafkaSettings, data_dir: Path | None = None) -> list[Check]:
    """Run all checks, in the order in which one would repair.

    Parameters
    ----------
    kafka
        The cluster to ask.
    data_dir
        Where the local broker keeps its data; the user's default without one.
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
