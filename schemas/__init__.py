"""Ground floor: records, Avro, topics, settings, clock, errors. Imports nothing else of ours."""

from schemas.codec import decode, encode
from schemas.errors import CodecError, InspectionError
from schemas.records import (
    Action,
    DeadLetter,
    Decision,
    Defect,
    Encoding,
    Frame,
    ImageReference,
    ResultState,
    Verdict,
)
from schemas.settings import KafkaSettings
from schemas.wire import Codec

__all__ = [
    "Action",
    "Codec",
    "CodecError",
    "DeadLetter",
    "Decision",
    "Defect",
    "Encoding",
    "Frame",
    "ImageReference",
    "InspectionError",
    "KafkaSettings",
    "ResultState",
    "Verdict",
    "decode",
    "encode",
]
