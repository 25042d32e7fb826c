"""One pass of one part: its known views, and the decisions on each of them."""

from __future__ import annotations

from enum import StrEnum

from actuators.actuator import InstructionReason
from actuators.schedule import ExpectedPart
from schemas.records import Action, Decision, ResultState

#: Station and part: all cameras of a station see the same parts.
PartKey = tuple[str, str]

#: Most answers of one part that are remembered; a part with more is in conflict already, or gets many equal answers.
_MAX_SEEN = 8
#: Most views of one part that are remembered; a part with two views is not accepted, whatever the other views are.
_MAX_VIEWS = 8
#: Triggers without a frame id that are at most this far apart (µs) are one trigger of a light barrier that bounced.
_BOUNCE_US = 5_000


class OfferResult(StrEnum):
    """Effect of an offered decision."""

    ARMED = "armed"
    DUPLICATE = "duplicate"
    #: The decision is of a frame that was shed, and the same view has an inspection.
    SUPERSEDED = "superseded"
    CONFLICT = "conflict"
    #: The decision is on another view of a part on the belt: the gate does not accept that part.
    ANOTHER_VIEW = "another-view"
    LATE = "late"
    UNKNOWN = "unknown"
    REFUSED_SIMULATED = "refused-simulated"
    REFUSED_INVALID = "refused-invalid"


#: Results that never contradict each other: one worker sheds a frame, and another one inspects it.
_SHED_AND_INSPECTED = {ResultState.ABORTED, ResultState.COMPLETED}


class PartView:
    """One view of a part: its camera, its frame if known, its capture, its trigger, and the actions decided on it."""

    __slots__ = ("actions", "camera_id", "captured_at_us", "frame_id", "is_triggered", "shed_says_reject")

    def __init__(self, camera_id: str, frame_id: str | None, captured_at_us: int) -> None:
        self.camera_id = camera_id
        self.frame_id = frame_id
        self.captured_at_us = captured_at_us
        #: First action in time of each result: an inspection, a failed inspection, a shed frame.
        self.actions: dict[ResultState, Action] = {}
        #: A worker that shed the frame, in time or late, says REJECT.
        self.shed_says_reject = False
        self.is_triggered = False

    @property
    def is_inspected(self) -> bool:
        """True if an inspection of the view came in time."""
        return ResultState.COMPLETED in self.actions

    def is_contradicted_by(self, decision: Decision) -> bool:
        """Return True if a decision has another action than one of the view's actions that it can contradict."""
        return any(
            action is not decision.action and {state, decision.result_state} != _SHED_AND_INSPECTED
            for state, action in self.actions.items()
        )


class TrackedPart:
    """Part from its capture until it is forgotten."""

    __slots__ = (
        "_answers",
        "_says_reject",
        "armed_at_us",
        "decision",
        "expected_s",
        "has_lost_decision",
        "has_several_views",
        "instructed",
        "is_acted",
        "is_contradicted",
        "is_stopped",
        "key",
        "late_by_s",
        "part",
        "serial",
        "views",
        "was_late",
    )

    def __init__(self, part: ExpectedPart, key: PartKey, serial: int, expected_s: float = 0.0) -> None:
        self.part = part
        self.key = key
        self.serial = serial
        #: Moment of its trigger (monotonic s), and delay of its arrival because the belt was stopped (s).
        self.expected_s = expected_s
        self.late_by_s = 0.0
        self.views = [PartView(part.camera_id, part.frame_id, part.captured_at_us)]
        self.views[0].is_triggered = True
        self.decision: Decision | None = None
        self.armed_at_us: int | None = None
        self.has_several_views = False
        #: A decision on the part came before its trigger and was dropped because there was no room.
        self.has_lost_decision = False
        self.is_contradicted = False
        #: An inspection of one of its views, in time or late, says REJECT, or a failed one does.
        self._says_reject = False
        #: The part was on the belt while the belt was stopped.
        self.is_stopped = False
        self.was_late = False
        self.is_acted = False
        #: Action that the gate took; None before the act, and for a part of a former run.
        self.instructed: Action | None = None
        self._answers: set[tuple[str, Action, ResultState]] = set()

    def find_or_add_view(
        self, camera_id: str, frame_id: str | None, captured_at_us: int, *, is_another: bool = False
    ) -> tuple[PartView, bool]:
        """Return the view that a trigger or a decision is about, and True if the view is new.

        With ``is_another`` it is always a new view: its capture is too far from those of the known views.
        """
        found = None if is_another else self._find(camera_id, frame_id, captured_at_us)
        if found is not None:
            # The trigger of a light barrier has no frame id: it matches the first frame of its camera.
            found.frame_id = found.frame_id or frame_id
            return found, False
        view = PartView(camera_id, frame_id, captured_at_us)
        if len(self.views) < _MAX_VIEWS:
            self.views.append(view)
        if not self.is_acted:
            self.has_several_views = True
        return view, True

    @property
    def arrives_s(self) -> float:
        """Monotonic time at which the part arrives at the gate."""
        return self.part.act_at_s + self.late_by_s

    def distance_us(self, captured_at_us: int) -> int:
        """Return the time between a capture and the nearest capture of this pass, in µs."""
        return min(abs(view.captured_at_us - captured_at_us) for view in self.views)

    def has_frame(self, camera_id: str, frame_id: str | None) -> bool:
        """Return True if that frame of that camera is known to show this pass."""
        return frame_id is not None and any(
            view.camera_id == camera_id and view.frame_id == frame_id for view in self.views
        )

    def apply_decision(
        self, decision: Decision, received_at_s: float, received_at_us: int, *, is_another: bool = False
    ) -> OfferResult:
        """Apply a decision that was received at that moment (monotonic s, UTC µs); return its effect on the part."""
        view, is_new_view = self.find_or_add_view(
            decision.camera_id, decision.frame_id, decision.captured_at_us, is_another=is_another
        )
        answer = (decision.decision_id, decision.action, decision.result_state)
        if answer in self._answers and not is_new_view:
            return OfferResult.DUPLICATE
        if len(self._answers) < _MAX_SEEN:
            self._answers.add(answer)
        is_shed = decision.result_state is ResultState.ABORTED
        # One id with two actions is not a repetition but a contradiction, whatever the results are.
        contradicts = view.is_contradicted_by(decision) or any(
            known_id == decision.decision_id and action is not decision.action for known_id, action, _ in self._answers
        )
        if is_shed and view.is_inspected and not contradicts:
            view.actions.setdefault(decision.result_state, decision.action)
            return OfferResult.SUPERSEDED
        if self.is_acted:
            return OfferResult.LATE
        if decision.action is Action.REJECT:
            view.shed_says_reject = view.shed_says_reject or is_shed
            # A view that is not remembered cannot tell later that its frame was inspected after all.
            self._says_reject = self._says_reject or not is_shed or view not in self.views
        if contradicts:
            self.is_contradicted = True
            return OfferResult.CONFLICT
        is_first = not view.actions or (not is_shed and set(view.actions) == {ResultState.ABORTED})
        if not is_first:
            view.actions.setdefault(decision.result_state, decision.action)
            return OfferResult.DUPLICATE  # another decision with the same action
        if any(
            other.is_contradicted_by(decision)
            and (other.camera_id, other.captured_at_us) == (view.camera_id, view.captured_at_us)
            for other in self.views
        ):
            # One exposure under two frame ids: this is not another view of the part, but two answers to the same view.
            view.actions.setdefault(decision.result_state, decision.action)
            self.is_contradicted = True
            return OfferResult.CONFLICT
        if received_at_s > min(self.part.decide_by_s, self.part.act_at_s):
            self.was_late = True
            return OfferResult.LATE
        view.actions[decision.result_state] = decision.action
        if self.has_several_views:
            return OfferResult.ANOTHER_VIEW
        self.decision, self.armed_at_us = decision, received_at_us
        return OfferResult.ARMED

    def result(self, failsafe: Action) -> tuple[Action, InstructionReason]:
        """Return the action that follows from the known views, and its reason; FAULT and drift are applied later."""
        if self.is_stopped:
            return failsafe, InstructionReason.BELT_STOPPED
        if self.is_contradicted:
            return Action.REJECT, InstructionReason.CONFLICT
        if self.has_several_views:
            return Action.REJECT if self._view_says_reject else failsafe, InstructionReason.SEVERAL_VIEWS
        if self.decision is not None and not self.has_lost_decision:
            return self.decision.action, InstructionReason.DECIDED
        return failsafe, InstructionReason.FAILSAFE_LATE if self.was_late else InstructionReason.FAILSAFE_MISSING

    @property
    def _view_says_reject(self) -> bool:
        return self._says_reject or any(view.shed_says_reject and not view.is_inspected for view in self.views)

    def close(self, instructed: Action | None) -> None:
        """Mark the part as acted on; only ids are kept from now on."""
        self.is_acted = True
        self.instructed = instructed
        self.decision = None

    def _find(self, camera_id: str, frame_id: str | None, captured_at_us: int) -> PartView | None:
        own = [view for view in self.views if view.camera_id == camera_id]
        if frame_id is None:
            near = (view for view in own if abs(view.captured_at_us - captured_at_us) <= _BOUNCE_US)
            return next(near, None)
        known = (view for view in own if view.frame_id == frame_id)
        return next(known, None) or next((view for view in own if view.frame_id is None), None)
