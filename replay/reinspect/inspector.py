"""Inspector of one recorded frame, with every variant of the run, as the live worker inspects it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models import FramePosition, Inspection
from replay.reinspect.reproduce import DecisionDifference, compare
from replay.reinspect.rows import row_bytes
from replay.reinspect.variants import LoadedVariant, groups
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.records import Action, Decision, Frame, ResultState, Verdict
from stream_processors.worker.frame_processor import FrameProcessor, InspectionFailure, image_of, inspect_frames
from stream_processors.worker.frame_task import FrameMessage, ProcessingResult
from stream_processors.worker.overload import Overload, OverloadPolicy
from transport.image_store import ImageStore
from transport.stored_message import MessagePosition, StoredMessage

#: Maximum bytes of tensors in memory for each thread, and maximum number of frames.
_TENSOR_BYTES, _AT_ONCE = 32 * 1024 * 1024, 16
_NOTHING_IS_SHED = OverloadPolicy(Overload.EVERYTHING)


@dataclass(frozen=True, slots=True)
class VariantResult:
    """Fields of a decision that a summary counts."""

    verdict: Verdict
    action: Action
    result_state: ResultState

    @classmethod
    def of(cls, decision: Decision) -> VariantResult:
        """Return the counted fields of a decision."""
        return cls(decision.verdict, decision.action, decision.result_state)


@dataclass(frozen=True, slots=True)
class InspectionJob:
    """Frame to inspect.

    Parameters
    ----------
    image
        Its image, fetched from a store, or the fault of the fetch; None if the image is in the message.
    """

    found: StoredMessage[Frame]
    recorded: Decision | None
    image: bytes | InspectionFailure | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a frame.

    Parameters
    ----------
    position
        Place of the frame.
    row
        Row for a part of the run folder, see `replay.reinspect.rows`; None if there is no decision at all.
    recorded
        Recorded decision.
    variants
        Decision of each variant, with its difference from the recorded decision (None: the same); empty if the message
        is not a valid frame.
    """

    position: MessagePosition
    row: bytes | None
    recorded: VariantResult | None
    variants: tuple[tuple[VariantResult, DecisionDifference | None], ...]


class Inspector:
    """Inspector of frames. Thread-safe.

    Parameters
    ----------
    loaded
        The variants; variants of one network share its inference.
    codec
        Wire format of the line: a decision that the line could not encode fails here too, as it did then.
    store
        Store of images of frames by reference; None if there is no store: such frames fail as in a worker without one.
    """

    def __init__(
        self, loaded: Sequence[LoadedVariant], codec: Codec, store: ImageStore | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._store = store
        self._answerers = [FrameProcessor(each.model, codec, self._clock, _NOTHING_IS_SHED, store) for each in loaded]
        largest = max(math.prod(each.model.manifest.input.shape) * 4 for each in loaded)
        self._at_once = max(1, min(_AT_ONCE, _TENSOR_BYTES // largest))
        self._groups = [(indices, tuple(loaded[index].model for index in indices)) for indices in groups(loaded)]

    def image(self, found: StoredMessage[Frame]) -> bytes | InspectionFailure | None:
        """Fetch the image of a frame from a store, which may take seconds. None if the image is in the message."""
        frame = found.record
        return None if frame is None or frame.image is not None else image_of(frame, self._store)

    def __call__(self, job: InspectionJob) -> Result:
        """Inspect a frame."""
        return self.batch([job])[0]

    def batch(self, jobs: Sequence[InspectionJob]) -> list[Result]:
        """Inspect some frames, with no more tensors in memory at a time than the limit allows."""
        results: list[Result] = []
        for begin in range(0, len(jobs), self._at_once):
            results.extend(self._batch(jobs[begin : begin + self._at_once]))
        return results

    def _batch(self, jobs: Sequence[InspectionJob]) -> list[Result]:
        #: Findings of each variant for each frame; None if there is no frame.
        seen: list[list[Inspection | InspectionFailure | None]] = [[None] * len(self._answerers) for _ in jobs]
        at: list[int] = []
        pairs: list[tuple[Frame, bytes]] = []
        for number, job in enumerate(jobs):
            frame = job.found.record
            if frame is None:
                continue
            image = job.image if job.image is not None else image_of(frame, self._store)
            if isinstance(image, InspectionFailure):
                seen[number] = [image] * len(self._answerers)
            else:
                at.append(number)
                pairs.append((frame, image))
        for indices, models in self._groups:
            for number, found in zip(at, inspect_frames(pairs, models), strict=True):
                for index, each in zip(indices, found, strict=True):
                    seen[number][index] = each
        return [self._result(job, found) for job, found in zip(jobs, seen, strict=True)]

    def _result(self, job: InspectionJob, seen: Sequence[Inspection | InspectionFailure | None]) -> Result:
        found, recorded = job.found, job.recorded
        recorded_result = None if recorded is None else VariantResult.of(recorded)
        position, frame = found.position, found.record
        source = FramePosition(position.topic, position.partition, position.offset, self._clock.utc_us())
        message = FrameMessage(found.value, found.key, found.headers, source)
        variants = []
        encoded = []
        for answerer, each in zip(self._answerers, seen, strict=True):
            if frame is not None and each is not None:
                answer = answerer.conclude(message, frame, each, 0.0)
            else:
                # A message that is not a valid frame only because its attributes are too large has a decision.
                read = answerer.read(message)
                answer = read if isinstance(read, ProcessingResult) else ProcessingResult()
            if answer.decision is None or answer.decision_bytes is None:
                # No frame, or a frame whose identity allows no decision: a dead letter, then as now.
                row = None if recorded is None else row_bytes(position, found.timestamp_us, recorded, ())
                return Result(position, row, recorded_result, ())
            encoded.append(answer.decision_bytes)
            difference = compare(recorded, answer.decision, answer.decision_bytes)
            variants.append((VariantResult.of(answer.decision), difference))
        return Result(
            position, row_bytes(position, found.timestamp_us, recorded, encoded), recorded_result, tuple(variants)
        )
