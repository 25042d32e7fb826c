"""What each package offers: a name that comes or goes is a decision, not an accident."""

from __future__ import annotations

import importlib

import pytest

SURFACE = {
    "schemas": {
        "Action", "Codec", "CodecError", "DeadLetter", "Decision", "Defect", "DriftEvent", "DriftKind", "DriftType",
        "Encoding", "EpisodeState", "Frame", "ImageReference", "InspectionError", "KafkaSettings", "Label",
        "ResultState", "SignalChange", "Verdict",
    },
    "models": {
        "ImageError", "Inspection", "Model", "ModelPackageError", "Source", "decide", "default_model_path",
        "inspect_image", "load_model", "not_inspected",
    },
    "producers": {
        "Camera", "CameraIdentity", "CameraJob", "CameraReport", "Capture", "FramePublisher", "PublishedFrame",
        "PublisherMetrics", "PublisherOptions", "PublisherStats", "load_camera", "run_camera", "run_cameras",
    },
    "actuators": {
        "Actuator", "Belt", "ConsumerCounts", "DecisionConsumer", "DriftStats", "DriftWatch", "ExpectedPart", "Fault",
        "FrameTriggers", "GateError", "GateFull", "GateRunner", "GateSettings", "GateState", "GateStats", "Instruction",
        "LineStop", "OnDrift", "Outcome", "PartTracker",
        "SimulatedGate", "TrackerCounts", "Undecodable", "Why", "load_actuator", "schedule",
    },
    "stream_processors": {"Overload", "OverloadPolicy", "WorkerSettings"},
    "monitoring.drift": {"Budget", "CameraWatch", "DriftOptions", "ReferencesOf", "StateError"},
    "replay": {
        "Analysis", "Archive", "Comparison", "EmptySelection", "Place",
        "ReplayedFrame", "Rows", "RunFolder", "Selection", "Source", "Stored", "Stretch", "Table", "TopicMessage",
        "TopicRange", "Truths", "analyse", "build_table", "compare", "decided", "export_coco", "export_folder",
        "frames", "read_topic", "run_rows", "write_rows",
    },
    "operations": {"Audit", "CameraAudit", "LabelError", "labels_from_csv", "make_label", "publish_labels"},
    "infra.broker": {"BrokerError", "BrokerStatus", "LocalBroker"},
}  # fmt: skip


@pytest.mark.parametrize("package", SURFACE)
def test_the_surface_is_as_stated(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == SURFACE[package]
    assert all(hasattr(module, name) for name in module.__all__)
