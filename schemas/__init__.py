"""The contract of the line: records, Avro, topics, settings, ids, clock, errors. Imports no other package of ours."""

from schemas.codec import Codec
from schemas.errors import CodecError, InspectionError
from schemas.records import (
    Action,
    AuditEvent,
    AuditOutcome,
    DeadLetter,
    Decision,
    Defect,
    DriftEvent,
    DriftKind,
    DriftType,
    Encoding,
    EpisodeState,
    Frame,
    ImageReference,
    Label,
    ResultState,
    SignalChange,
    Verdict,
)
from schemas.settings import KafkaSettings

__all__ = [
    "Action",
    "AuditEvent",
    "AuditOutcome",
    "Codec",
    "CodecError",
    "DeadLetter",
    "Decision",
    "Defect",
    "DriftEvent",
    "DriftKind",
    "DriftType",
    "Encoding",
    "EpisodeState",
    "Frame",
    "ImageReference",
    "InspectionError",
    "KafkaSettings",
    "Label",
    "ResultState",
    "SignalChange",
    "Verdict",
]
