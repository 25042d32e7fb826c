"""What each package offers: a name that comes or goes is a decision, not an accident."""

from __future__ import annotations

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "schemas", "transport", "models", "monitoring", "producers", "stream_processors", "actuators", "replay",
    "operations", "gateway", "infra",
)  # fmt: skip

SURFACE = {
    "schemas": {
        "Action", "AuditEvent", "AuditOutcome", "Codec", "CodecError", "DeadLetter", "Decision", "Defect", "DriftEvent",
        "DriftKind", "DriftType",
        "Encoding", "EpisodeState", "Frame", "ImageReference", "InspectionError", "KafkaSettings", "Label",
        "ResultState", "SignalChange", "Verdict",
    },
    "models": {
        "FramePosition", "ImageError", "Inspection", "Model", "ModelPackageError", "build_decision",
        "default_model_path", "failed_inspection", "inspect_image", "load_model",
    },
    "models.testing": {"check_model"},
    "producers": {
        "Camera", "CameraIdentity", "CameraJob", "CameraReport", "Capture", "FramePublisher", "PublishedFrame",
        "PublisherMetrics", "PublisherOptions", "PublisherStats", "load_camera", "run_camera", "run_cameras",
    },
    "producers.testing": {"ListCamera", "check_camera"},
    "actuators": {
        "Actuator", "Belt", "ConsumerCounts", "DecisionConsumer", "DriftStats", "DriftWatch", "ExpectedPart",
        "Fault", "FrameTriggers", "GateError", "GateFull", "GateRunner", "GateSettings", "GateState",
        "GateStats", "Instruction", "InstructionReason", "LineStop", "OnDrift", "OfferResult", "PartTracker",
        "SimulatedGate", "TrackerCounts", "Undecodable", "load_actuator", "schedule",
    },
    "actuators.testing": {"ListDecisions", "RecordingActuator", "check_actuator"},
    "stream_processors": {"Overload", "OverloadPolicy", "WorkerSettings"},
    "monitoring.drift": {"Budget", "CameraWatch", "DriftOptions", "ReferencesOf", "StateError"},
    "replay": {
        "Analysis", "Archive", "Comparison", "EmptySelection", "LabelIndex", "MessagePosition", "ReplayedFrame",
        "ResolvedSelection", "Rows", "RunFolder", "Selection", "Source", "StoredMessage", "Table", "TimeRange",
        "TopicMessage", "analyse", "build_table", "compare", "export_coco", "export_folder", "frames",
        "read_topic", "recorded_frames", "run_rows", "write_rows",
    },
    "operations": {"Audit", "CameraCounts", "LabelError", "labels_from_csv", "make_label", "publish_labels"},
    "infra.broker": {"BrokerError", "BrokerStatus", "LocalBroker"},
}  # fmt: skip


@pytest.mark.parametrize("package", SURFACE)
def test_the_surface_is_as_stated(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == SURFACE[package]
    assert all(hasattr(module, name) for name in module.__all__)


def _public_names(path: Path) -> Iterator[str]:
    """Yield the classes and the aliases of types that a module defines at its top."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        else:
            continue
        # A name of one letter is a type variable.
        if len(name) > 1 and name[0].isupper() and not name.isupper():
            yield name


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in _public_names(path):
                places[name].append(str(path.relative_to(ROOT)))
    assert len(places) > 300
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
