"""Feedback of published results to the worker: health, times of inspections, metrics, quarantine."""

from __future__ import annotations

from stream_processors.worker.frame_task import FrameTask
from stream_processors.worker.guard import GuardedFrameProcessor
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.work_health import WorkHealth


class Feedback:
    """Receiver of the progress of every frame.

    Parameters
    ----------
    processor
        Its shedding learns how long frames take, its quarantine forgets frames that are answered.
    health
        Counts the frames that wait, and those that were inspected.
    metrics
        Counts the results.
    """

    def __init__(self, processor: GuardedFrameProcessor, health: WorkHealth, metrics: WorkerMetrics) -> None:
        self._processor = processor
        self._health = health
        self._metrics = metrics

    def admitted(self, task: FrameTask) -> None:
        """Record a frame that was read and must be answered."""
        self._health.came()

    def completed(self, task: FrameTask) -> None:
        """Learn from a frame whose result Kafka has acknowledged. Thread-safe."""
        self._health.answered(task.result)
        decision, shedding = task.result.decision, self._processor.shedding
        if decision is None:
            return
        if task.frame is not None and "infer" in decision.durations_ms:
            needed_ms = shedding.learn(task.frame, task.message.source, task.inspecting_ms, task.publishing_ms)
            self._metrics.estimate.set(needed_ms / 1000)
        elif task.result.shed is not None:
            shedding.learn_publishing(task.publishing_ms, decision)

    def acknowledged(self, task: FrameTask) -> None:
        """Record a frame whose offset may be committed. Call from the event loop only."""
        if self._processor.has_suspects:
            self._processor.acked(task.message)
        self._metrics.record(task.result, task.publishing_ms / 1000)
