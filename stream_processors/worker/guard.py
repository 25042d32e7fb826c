"""Frame processor that survives deadly messages: messages in hand are on file; those of a crash get a trial first.

The rule for a message that was in hand when a worker of the group died (`transport.quarantine`):

1. after one death: a child process reads and inspects it first (`stream_processors.worker.trials`). If the child dies
   or takes too long, the message is answered unread; if not, it is answered as any other;
2. after two deaths, or if it is proven to hang: it is answered unread.

Answered unread means a FAILED decision that rejects, where the identity of the frame is known, and a dead letter of the
kind `KILLED`. Reading a record is bounded by `schemas.codec`, so a message whose reading did not end the worker is
read again for its identity and its deadline: a frame that is too late is shed without a trial.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from models import Model, default_model_path
from schemas import Frame
from schemas.clock import Clock
from schemas.codec import Codec
from stream_processors.worker.frame_processor import FrameProcessor, FrameWork, InspectionFailure
from stream_processors.worker.frame_task import FrameMessage, ProcessingResult
from stream_processors.worker.overload import OverloadPolicy
from stream_processors.worker.settings import WorkerSettings
from stream_processors.worker.trials import Trials
from transport.image_store import ImageStore
from transport.quarantine import DEADLY, MessageKey, Quarantine, Stage, Suspect, key_of

log = logging.getLogger(__name__)

#: Kind of the dead letter of a message that ended a worker, or would have.
KILLED = "killed-the-worker"

#: Time that one message may take in a trial, in seconds.
_LIMIT_S = 10.0


class GuardedFrameProcessor(FrameProcessor):
    """Frame processor that does not read messages which have killed a worker.

    Parameters
    ----------
    model, codec, clock, overload, store, options
        See `FrameProcessor`.
    quarantine
        Files of this process and of its group.
    trials
        Child process that tries suspects.
    """

    def __init__(
        self,
        model: Model,
        codec: Codec,
        clock: Clock,
        overload: OverloadPolicy | None = None,
        store: ImageStore | None = None,
        *,
        quarantine: Quarantine,
        trials: Trials,
        **options: Any,
    ) -> None:
        super().__init__(model, codec, clock, overload, store, **options)
        self._quarantine = quarantine
        self._trials = trials
        self._passed: set[MessageKey] = set()

    def read(self, message: FrameMessage, *, overtaken: bool = False) -> Frame | ProcessingResult:
        """Decode the frame as `FrameProcessor.read`; a suspect whose reading was not survived is tried before."""
        self._quarantine.forget_answered()
        key = _key(message)
        suspect = self._quarantine.suspect(key)
        if suspect is not None and suspect.stage == Stage.RECORD:
            answer = self._result_of_suspect(message, key, suspect, None, b"")
            if answer is not None:
                return answer
        slot = self._quarantine.enter(key, Stage.RECORD)
        frame = super().read(message, overtaken=overtaken)
        # Not in a finally: an exception ends the process, and makes the message a suspect at the next start.
        self._quarantine.leave(slot)
        if isinstance(frame, ProcessingResult):
            self._acquit(key)
        return frame

    @property
    def has_suspects(self) -> bool:
        """True if any message is known that was in hand when a worker died."""
        return self._quarantine.has_suspects

    def is_suspect(self, message: FrameMessage) -> bool:
        """Return whether a message was in hand when a worker died: it is worked on alone."""
        return self._quarantine.has_suspects and self._quarantine.suspect(_key(message)) is not None

    def acked(self, message: FrameMessage) -> None:
        """Record that a message has its answer; the quarantine forgets it once its offset is committed."""
        self._quarantine.answered(_key(message))

    def inspect_all(self, works: Sequence[FrameWork]) -> list[ProcessingResult]:
        """Inspect as `FrameProcessor.inspect_all`; a suspect gets a trial first."""
        keys = [_key(message) for message, _, _ in works]
        unread = [self._unread(work, key) for work, key in zip(works, keys, strict=True)]
        rest = [(work, key) for work, key, answer in zip(works, keys, unread, strict=True) if answer is None]
        slots = [self._quarantine.enter(key, Stage.IMAGE, is_alone=len(rest) == 1) for _, key in rest]
        answers = iter(super().inspect_all([work for work, _ in rest]) if rest else ())
        for slot in slots:
            self._quarantine.leave(slot)
        for _, key in rest:
            self._acquit(key)
        return [next(answers) if answer is None else answer for answer in unread]

    def read_quarantine(self) -> None:
        """Read the messages that dead workers of the group had in hand. Call it when partitions are assigned."""
        self._quarantine.look()
        if self._quarantine.has_suspects:
            self._trials.prepare()

    def _acquit(self, key: MessageKey) -> None:
        self._quarantine.clear(key)
        self._passed.discard(key)

    def _unread(self, work: FrameWork, key: MessageKey) -> ProcessingResult | None:
        message, frame, image = work
        suspect = self._quarantine.suspect(key)
        return None if suspect is None else self._result_of_suspect(message, key, suspect, frame, image)

    def _result_of_suspect(
        self, message: FrameMessage, key: MessageKey, suspect: Suspect, frame: Frame | None, image: bytes
    ) -> ProcessingResult | None:
        """Return the answer to a suspect that is not read; None if it may be read."""
        if suspect.deaths >= DEADLY:
            why = f"a worker ended {suspect.deaths} times while it worked on this message, or was ended since it hung"
            return self._answer_unread(message, frame, InspectionFailure(KILLED, why))
        if key in self._passed:
            return None
        source = message.source
        found = self._trials.try_out(message.value, image if frame is not None and frame.image is None else None)
        if found.killed is not None:
            self._quarantine.convict(key)
            why = f"a worker ended while it worked on this message; in a trial {found.killed}"
            return self._answer_unread(message, frame or found.frame, InspectionFailure(KILLED, why))
        if found.refused is not None and (frame or found.frame) is not None:
            return self._answer_unread(message, frame or found.frame, InspectionFailure(*found.refused))
        self._passed.add(key)
        if found.has_run:
            log.info("%s-%d@%d passed its trial", source.topic, source.partition, source.offset)
        return None

    def _answer_unread(self, message: FrameMessage, frame: Frame | None, fault: InspectionFailure) -> ProcessingResult:
        source = message.source
        log.error("%s-%d@%d is answered unread: %s", source.topic, source.partition, source.offset, fault.reason)
        # It stays a suspect: until its offset is committed it may be read again, see `acked`.
        if frame is None:
            return self._dead(message, fault.kind, fault.reason)
        shed = self.shed(message, frame) if fault.kind != KILLED else None
        return shed or self.conclude(message, frame, fault, self._queue_ms(message))


def trials_of(settings: WorkerSettings) -> Trials:
    """Make the trials of a worker process; no child is started yet."""
    # Well below the time after which the watchdog ends the worker that waits for a trial.
    limit_s = min(_LIMIT_S, settings.watchdog_s / 4) if settings.watchdog_s else _LIMIT_S
    return Trials(settings.kafka, settings.model or default_model_path(), limit_s)


def _key(message: FrameMessage) -> MessageKey:
    return key_of(message.source.partition, message.source.offset, message.value)
