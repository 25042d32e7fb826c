"""Result of a demo run, as one JSON object and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.demo.counts import DemoQuality
from infra.demo.http_cameras import Asked
from monitoring.percentiles import percentiles
from schemas.text import shown

Percentiles = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class GateResult:
    """Counts of the gate: parts acted on, those of them by fail-safe, late decisions, parts in conflict.

    ``fault`` is the reason for which the gate stopped the line. After it all parts count as acted on by fail-safe.
    """

    actuated: int
    failsafe: int
    late: int
    conflicts: int
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class DriftDemo:
    """Disturbance of a camera and its detection: first disturbed frame, and frame of the first alarm after it.

    ``delay_frames`` counts the frames of the camera from the first disturbed frame to the alarm. ``early_alarms`` came
    before the change. ``other_alarms`` are alarms of the undisturbed cameras.
    """

    scenario: str
    camera_id: str
    changed_frame_id: str | None
    alarm_frame_id: str | None
    delay_frames: int | None
    kind: str | None
    cause: str
    reason: str
    early_alarms: int
    other_alarms: int


@dataclass(frozen=True, slots=True)
class HttpResult:
    """Requests of cameras that asked over HTTP: all, those by status, and those without an answer; times in ms."""

    requests: int
    by_status: dict[str, int]
    unanswered: int
    latency_ms: Percentiles

    @classmethod
    def of(cls, cameras: Sequence[Asked]) -> HttpResult:
        """Return the sum of the requests of several cameras."""
        statuses: Counter[str] = sum((Counter(camera.by_status) for camera in cameras), Counter())
        unanswered = sum(camera.pending for camera in cameras)
        latencies_ms = [latency_ms for camera in cameras for latency_ms in camera.latencies_ms]
        return cls(
            requests=statuses.total() + unanswered,
            by_status=dict(sorted(statuses.items())),
            unanswered=unanswered,
            latency_ms=percentiles(latencies_ms),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Figures of one run; ``unaccounted`` must be 0.

    ``not_decidable`` includes the ``shed`` frames: they were too late to be worth inspecting, but have an answer too.
    ``drops_counted`` are captures that their publisher dropped, each one counted. Latencies are in milliseconds;
    ``capture_to_gate`` ends when the gate has received the decision (the gate acts later, when the part arrives).
    ``throughput_fps`` is the number of decisions a second, from the first capture to the last decision.
    """

    frames_published: int
    decisions: int
    accepted: int
    rejected: int
    review: int
    not_decidable: int
    shed: int
    dead_letters: int
    drops_counted: int
    duplicates: int
    unaccounted: int
    gate: GateResult
    quality: DemoQuality
    latency_ms: dict[str, Percentiles]
    throughput_fps: float
    model: dict[str, str]
    cameras: int
    seconds: float
    drift: DriftDemo | None = None
    drift_events: tuple[dict[str, Any], ...] = ()
    http: HttpResult | None = None

    def as_json(self) -> dict[str, Any]:
        """Return a plain object for ``json.dumps``."""
        return asdict(self)


def summary(result: DemoResult) -> RenderableType:
    """Return the summary of a run for the terminal."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    quality, gate = result.quality, result.gate
    if result.http is not None:
        table.add_row("over HTTP", http_text(result.http))
    table.add_row("frames", f"{result.frames_published} published, {result.drops_counted} dropped (counted)")
    table.add_row(
        "decisions",
        f"{result.decisions}: {result.accepted} accept, {result.rejected} reject, {result.review} review"
        f" ({result.not_decidable - result.shed} could not be inspected, {result.shed} too late to inspect)",
    )
    table.add_row("dead letters", str(result.dead_letters))
    table.add_row(
        "gate",
        f"{gate.actuated} parts acted on, {gate.failsafe} by fail-safe, {gate.late} late, {gate.conflicts} conflicts",
    )
    if quality.accuracy is not None:
        table.add_row(
            "against labels",
            f"accuracy {quality.accuracy:.1%} of {quality.labelled}, {quality.escapes} escapes,"
            f" {quality.overkill} overkill",
        )
    if result.drift is not None:
        table.add_row("drift", Text(drift_text(result.drift)))
    table.add_row("capture to decision", latency_text(result.latency_ms["capture_to_decision"]))
    table.add_row("capture to gate", latency_text(result.latency_ms["capture_to_gate"]))
    if result.http is not None:
        table.add_row("request to answer", latency_text(result.http.latency_ms))
    table.add_row("throughput", f"{result.throughput_fps:.1f} frames/s over {result.seconds:.1f} s")
    table.add_row("model", Text(shown(f"{result.model['name']} {result.model['version']}")))
    notes = []
    if result.shed:
        notes.append(
            f"{result.shed} frames came too late to inspect and count as rejected: this machine is too slow or busy "
            "for so many; a lower --fps shows the line as it is, --fps 0 how fast this machine goes"
        )
    if gate.fault is not None:
        notes.append(
            f"the gate went into FAULT ({shown(gate.fault)}) and treated every later part by its fail-safe, as on a "
            "line until a person resets it; a lower --fps or a longer --belt-ms gives the decisions more time"
        )
    if result.unaccounted:
        verdict = Text(f"{result.unaccounted} frames unaccounted for", style="bold red")
    else:
        verdict = Text("every frame accounted for", style="bold green")
    return Group(table, *(Text(note, style="yellow") for note in notes), verdict)


def http_text(http: HttpResult) -> str:
    """Return one line about the requests.

    Examples
    --------
    >>> http_text(HttpResult(600, {"200": 598, "504": 2}, 0, {}))
    '600 requests: 598 answered with 200, 2 with 504'
    """
    counts = [f"{number} with {status}" for status, number in http.by_status.items()]
    if http.unanswered:
        counts.append(f"{http.unanswered} not answered")
    answers = ", ".join(counts).replace(" with ", " answered with ", 1)
    return f"{http.requests} requests: {answers}" if answers else "no request"


def drift_text(drift: DriftDemo) -> str:
    """Return one or two lines about the disturbance and its detection."""
    if drift.alarm_frame_id is None:
        found = "not noticed"
    else:
        found = f"noticed after {drift.delay_frames} frames: {shown(drift.reason)}"
    false = drift.early_alarms + drift.other_alarms
    return f"{drift.scenario} on {drift.camera_id}, {found}" + (f"\n{false} false alarms" if false else "")


def latency_text(figures: Percentiles) -> str:
    """Return p50, p99 and maximum as text.

    Examples
    --------
    >>> latency_text({"p50": 9.2, "p95": 11.0, "p99": 14.8, "max": 20.0})
    'p50 9.2 ms, p99 14.8 ms, at most 20.0 ms'
    >>> latency_text({"p50": None, "p95": None, "p99": None, "max": None})
    'nothing measured'
    """
    if figures["p50"] is None:
        return "nothing measured"
    return f"p50 {figures['p50']:.1f} ms, p99 {figures['p99']:.1f} ms, at most {figures['max']:.1f} ms"
