"""Run of a whole line: broker, topics, worker, gate, cameras. Every frame is accounted for; nothing stays running."""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from actuators import DecisionConsumer, GateRunner, GateSettings, SimulatedGate
from infra.broker import LocalBroker
from infra.demo.cameras import TriggeredCamera, disturbed_camera, folder_images, share_out, solar_cells
from infra.demo.counts import DemoCounts
from infra.demo.drift import drift_events, judge
from infra.demo.http_cameras import LONG_WAIT_S, Asked, GatewayProcess, HttpCamera, camera_identity
from infra.demo.processes import ServedProcess, WorkerProcess
from infra.demo.result import DemoResult, DriftDemo, GateResult, HttpResult
from infra.demo.view import LiveView
from infra.demo.watcher import AnswerReader
from models import default_model_path, load_model
from monitoring.percentiles import percentiles
from producers import CameraIdentity, CameraJob, FramePublisher, PublisherOptions, run_cameras
from producers.camera import Camera
from producers.cameras.disturbed import Disturbance
from producers.stats import PublisherStats
from schemas import Action, InspectionError, KafkaSettings, Verdict
from schemas.clock import Clock, SystemClock
from schemas.topics import TOPICS
from stream_processors.worker.overload import Overload
from transport.clients import make_admin
from transport.topic_setup import apply

LINE, STATION = "demo-line", "demo"
DEFAULT_FRAMES = 600
#: Frames of a run with --drift: enough to learn the camera, to notice the drift, and to see what follows.
DRIFT_FRAMES = 1200
#: Index of the disturbed camera.
_DISTURBED = 0
#: Most frames in flight with --fps 0: enough to keep the worker busy, few enough for answers in time.
_WINDOW = 24
#: Default deadline and time from camera to gate, in ms.
_BOUNDS_MS = 500, 800
#: The same with --fps 0: such a line begins with all frames of a window at once, while the broker is still cold.
_FULL_SPEED_BOUNDS_MS = 2_000, 2_500
#: The run fails if no frame is answered for this time, in seconds.
_STALLED_S = 30.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of `inspection demo`; see its ``--help``."""

    frames: int | None = None
    cameras: int = 3
    fps: float = 30.0
    folder: Path | None = None
    model: Path | None = None
    belt_ms: float | None = None
    deadline_ms: int | None = None
    bootstrap_servers: str | None = None
    journal: Path | None = None
    drift: Disturbance | None = None
    gateway: bool = False


def run_demo(options: DemoOptions, console: Console, clock: Clock | None = None) -> DemoResult:
    """Run the demo and return its figures.

    Raises
    ------
    InspectionError
        If the line cannot be set up, or if frames are no longer answered. The message is one line.
    """
    model = load_model(options.model or default_model_path())
    cameras, frames = _cameras(options)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inspection-demo-")))
        kafka, client_file = stack.enter_context(_topics(options, scratch, console))
        console.print("starting a worker and the gate", style="dim")
        worker = stack.enter_context(
            WorkerProcess(
                kafka,
                model=options.model,
                group=f"{kafka.prefix}-workers",
                log=scratch / "worker.log",
                options=["--overload", _overload(options), "--state-dir", str(scratch / "state")],
                client_file=client_file,
            )
        )
        watch = None
        if options.drift is not None:
            package = [] if options.model is None else ["--model", str(options.model)]
            # Snapshots are frequent, because the demo waits at its end until the watch has seen all decisions.
            often = ["--snapshot-s", "0.5", *package]
            watch = stack.enter_context(
                ServedProcess(
                    "watch",
                    kafka,
                    group=f"{kafka.prefix}-watch",
                    log=scratch / "watch.log",
                    options=often,
                    client_file=client_file,
                )
            )
            watch.await_ready()
        gateway = None
        if options.gateway:
            gateway = stack.enter_context(
                GatewayProcess(
                    kafka,
                    line=LINE,
                    station=STATION,
                    clients=_names(options.cameras),
                    scratch=scratch,
                    client_file=client_file,
                )
            )
        worker.await_ready()
        if gateway is not None:
            gateway.await_ready()
        run = _Run(options, kafka, worker, watch, gateway, console, clock or SystemClock())
        return run.go(cameras, frames, {"name": model.name, "version": model.version, "sha256": model.sha256})


def _names(cameras: int) -> list[str]:
    return [f"cam{index + 1}" for index in range(cameras)]


def _cameras(options: DemoOptions) -> tuple[list[Camera], int]:
    if options.folder is None:
        cameras, frames = solar_cells(options.cameras), DEFAULT_FRAMES if options.drift is None else DRIFT_FRAMES
    else:
        loop = options.frames is not None or options.drift is not None
        cameras, frames = folder_images(options.folder, options.cameras, loop=loop)
        frames = frames if options.drift is None else DRIFT_FRAMES
    frames = options.frames or frames
    if options.drift is not None:
        share = share_out(frames, options.cameras)[_DISTURBED]
        cameras[_DISTURBED] = disturbed_camera(options.drift, cameras[_DISTURBED], share)
    return cameras, frames


def _overload(options: DemoOptions) -> Overload:
    """Return the overload mode: shed late frames at a fixed frame rate, else inspect everything.

    A user's own images, or a run at full speed, have no deadline to miss. A shed frame has no signals, which would
    confuse the search for drift: with a disturbance everything is inspected too.
    """
    inspect_all = options.folder is not None or options.drift is not None or not options.fps
    return Overload.EVERYTHING if inspect_all else Overload.DEADLINE


@contextmanager
def _topics(options: DemoOptions, scratch: Path, console: Console) -> Iterator[tuple[KafkaSettings, Path | None]]:
    """Create topics for this run only: on the demo's own broker, or on the user's cluster, and delete them there.

    Yields the settings, and the file of the connection for the demo's processes; None: they find it as this one did.
    """
    prefix = f"demo-{uuid.uuid4().hex[:8]}"
    if options.bootstrap_servers is not None:
        kafka = replace(KafkaSettings.from_env(bootstrap_servers=options.bootstrap_servers), prefix=prefix)
        apply(kafka)
        try:
            yield kafka, None
        finally:
            _delete_topics(kafka)
        return
    from infra.broker.download_progress import download_progress
    from infra.broker.secured_start import USER, make_security, write_client

    found = KafkaSettings.from_env()
    console.print("starting Apache Kafka", style="dim")
    security = make_security(scratch / "broker")
    broker = LocalBroker(scratch / "broker", port=0, ends_with_us=True, security=security)
    try:
        with download_progress() as progress:
            broker.start(progress=progress)
        servers = broker.bootstrap_servers
        kafka = KafkaSettings(servers, prefix, found.schema_registry_url, security.client(USER), found.registry_client)
        apply(kafka)
        yield kafka, write_client(scratch / "broker", security, servers)
    finally:
        broker.stop()


def _delete_topics(kafka: KafkaSettings) -> None:
    admin = make_admin(kafka)
    for deleted in admin.delete_topics([topic.name(kafka.prefix) for topic in TOPICS]).values():
        deleted.result(20)


class _Run:
    """State of one demo run: gate, counts and threads."""

    def __init__(
        self,
        options: DemoOptions,
        kafka: KafkaSettings,
        worker: WorkerProcess,
        watch: ServedProcess | None,
        gateway: GatewayProcess | None,
        console: Console,
        clock: Clock,
    ) -> None:
        self._options = options
        self._kafka = kafka
        self._worker = worker
        self._watch = watch
        self._gateway = gateway
        self._console = console
        self._clock = clock
        self._counts = DemoCounts()
        self._stop = threading.Event()
        self._captured = 0
        self._lock = threading.Lock()
        deadline_ms, belt_ms = _BOUNDS_MS if options.fps else _FULL_SPEED_BOUNDS_MS
        self._deadline_ms = deadline_ms if options.deadline_ms is None else options.deadline_ms
        self._gate = GateRunner(
            DecisionConsumer(kafka, station=STATION),
            SimulatedGate(options.journal),
            GateSettings(belt_ms=belt_ms if options.belt_ms is None else options.belt_ms),
        )

    def go(self, cameras: list[Camera], frames: int, model: dict[str, str]) -> DemoResult:
        """Start the gate, then the cameras; wait for every answer and every part; return the result."""
        watcher = AnswerReader(self._kafka, self._counts)
        watcher.start()
        self._gate.start()
        try:
            publishers = [self._publisher(name) for name in _names(len(cameras))]
            began = time.monotonic()
            view = LiveView(self._console, frames)
            with view.shown():
                shooting = threading.Thread(target=self._shoot, args=(cameras, publishers, frames), daemon=True)
                shooting.start()
                self._follow(shooting, view, began)
            stats: Sequence[PublisherStats | Asked] = [publisher.close() for publisher in publishers]
            self._settle()
            seconds = time.monotonic() - began
        finally:
            self._stop.set()
            self._gate.stop()
            watcher.stop()
        gate, fault, counts = self._gate.stats.tracker, self._gate.stats.fault, self._counts
        drift, events = self._drift()
        return DemoResult(
            drift=drift,
            drift_events=events,
            frames_published=counts.frames_published,
            decisions=counts.decisions,
            accepted=counts.actions[Action.ACCEPT],
            rejected=counts.actions[Action.REJECT],
            review=counts.actions[Action.REVIEW],
            not_decidable=counts.verdicts[Verdict.NOT_DECIDABLE],
            shed=counts.shed,
            dead_letters=counts.dead_letters,
            drops_counted=sum(s.dropped + s.failed for s in stats),
            duplicates=counts.duplicates,
            unaccounted=counts.unaccounted + sum(s.pending for s in stats),
            gate=GateResult(
                gate.actuated, gate.failsafe, gate.late, gate.conflicts, None if fault is None else fault.reason
            ),
            quality=counts.quality,
            latency_ms={
                "capture_to_decision": percentiles(counts.latencies_ms),
                "capture_to_gate": percentiles(self._gate.latencies_ms),
            },
            throughput_fps=round(counts.decisions / seconds, 2),
            model=model,
            cameras=len(cameras),
            seconds=round(seconds, 2),
            http=HttpResult.of([each for each in stats if isinstance(each, Asked)]) if self._gateway else None,
        )

    def _drift(self) -> tuple[DriftDemo | None, tuple[dict[str, Any], ...]]:
        if self._watch is None or self._options.drift is None:
            return None, ()
        watch, decided = self._watch, self._counts.decisions

        def seen_all() -> bool:
            return not watch.alive() or watch.metric("inspection_watch_decisions") >= decided

        events = drift_events(self._kafka, seen_all)
        camera_id = self._identity(_names(1)[_DISTURBED]).camera_id
        return judge(self._options.drift, camera_id, self._counts.first_disturbed, events)

    def _identity(self, name: str) -> CameraIdentity:
        if self._gateway is None:
            return CameraIdentity(LINE, STATION, name)
        return camera_identity(LINE, STATION, name)

    def _publisher(self, name: str) -> FramePublisher | HttpCamera:
        deadline_ms = self._deadline_ms
        if self._gateway is not None:
            return HttpCamera(
                self._identity(name),
                self._gateway.url,
                self._gateway.tokens[name],
                deadline_ms=deadline_ms,
                wait_s=deadline_ms / 1000 if _overload(self._options) is Overload.DEADLINE else LONG_WAIT_S,
                lot=self._kafka.prefix,
                on_published=self._counts.published,
            )
        return FramePublisher(
            self._kafka,
            self._identity(name),
            PublisherOptions(deadline_ms=deadline_ms, lot=self._kafka.prefix, policy="block"),
            on_published=lambda frame: self._counts.published(frame.frame_id),
        )

    def _shoot(self, cameras: list[Camera], publishers: Sequence[FramePublisher | HttpCamera], frames: int) -> None:
        fps = self._options.fps / len(cameras) if self._options.fps else None
        jobs = [
            CameraJob(
                publisher.identity.camera_id,
                TriggeredCamera(
                    camera,
                    publisher.identity.camera_id,
                    self._clock,
                    before=self._await_room,
                    on_trigger=self._trigger(publisher.identity),
                ),
                publisher,
                fps=fps,
                max_frames=share,
                phase=index / len(cameras),  # like the cameras of a real line, they are not triggered together
            )
            for index, (camera, publisher, share) in enumerate(
                zip(cameras, publishers, share_out(frames, len(cameras)), strict=True)
            )
            if share
        ]
        run_cameras(jobs, self._stop)

    def _trigger(self, camera: CameraIdentity) -> Callable[[str, int], None]:
        def on_trigger(part_id: str, captured_at_us: int) -> None:
            with self._lock:
                self._captured += 1
            self._gate.expect(
                part_id,
                station=camera.station,
                camera_id=camera.camera_id,
                captured_at_us=captured_at_us,
                deadline_ms=self._deadline_ms,
            )

        return on_trigger

    def _await_room(self) -> bool:
        """Wait, with --fps 0, until fewer than `_WINDOW` frames are in flight; return False if the run stops."""
        while not self._options.fps and self._captured - self._counts.answered >= _WINDOW:
            if self._stop.wait(0.0005):
                return False
        return not self._stop.is_set()

    def _follow(self, shooting: threading.Thread, view: LiveView, began: float) -> None:
        answered, since = 0, time.monotonic()
        while shooting.is_alive():
            shooting.join(0.25)
            view.update(
                self._counts, time.monotonic() - began, self._gate.latencies_ms, self._gate.stats.tracker.actuated
            )
            if self._counts.answered != answered:
                answered, since = self._counts.answered, time.monotonic()
            elif time.monotonic() - since > _STALLED_S:
                self._stop.set()
                raise InspectionError(f"nothing was decided for {_STALLED_S:.0f} s: {self._worker.last_line()}")

    def _settle(self) -> None:
        """Wait for the answers to the last frames."""
        deadline = time.monotonic() + _STALLED_S
        while self._counts.unaccounted and self._worker.alive() and time.monotonic() < deadline:
            time.sleep(0.005)
