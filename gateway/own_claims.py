"""Claims of the keys of one gateway, for a line without the topic of claims."""

from __future__ import annotations

import itertools
import uuid

from gateway.claims import Claim, ClaimTable, StandingClaim
from gateway.identity import key_of
from gateway.keys import key_reused
from gateway.settings import GatewaySettings
from schemas.clock import Clock

#: Longest time after which a decision is due, in seconds; that of a frame without a deadline.
_DUE_S = 60.0
#: Time beyond it: a worker that takes over partitions answers late, and a second frame would be a repetition.
_GRACE_S = 10.0


class OwnClaims:
    """Claims that only this gateway knows. `gateway.claim_log.ClaimLog` shares them with all gateways of the line.

    `take` is called from the event loop only.
    """

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self._clock = clock
        self._kept_s = settings.kept_s
        self.table = ClaimTable(settings.kept_s, settings.kept)
        self._writer = uuid.uuid4().hex
        self._numbers = itertools.count()

    @property
    def is_running(self) -> bool:
        """True while claims can be made."""
        return True

    @property
    def is_ready(self) -> bool:
        """True once all claims that existed at the start are known."""
        return True

    def open(self) -> None:
        """Start."""

    def close(self) -> None:
        """End. Idempotent."""

    def has(self, frame_id: str) -> bool:
        """Return True if the key of a frame belongs to this frame. Thread-safe."""
        key = key_of(frame_id)
        standing = None if key is None else self.table.standing(key)
        return standing is not None and standing.claim.frame_id == frame_id

    def overdue_s(self, frame_id: str) -> float:
        """Return the monotonic time from which the claim for a frame may be replaced; 0 if there is no claim."""
        standing = self.table.standing(key_of(frame_id) or frame_id)
        return 0.0 if standing is None else standing.overdue_s

    def is_taken(self, frame_id: str) -> bool:
        """Return True if another request has claimed the key for this frame, and its decision is not overdue.

        Raises
        ------
        Problem
            ``key-reused`` if the key belongs to another image.
        """
        return self._is_taken_by(self.table.standing(key_of(frame_id) or frame_id), frame_id)

    async def take(self, frame_id: str, left_s: float | None, until_s: float) -> bool:
        """Claim a key; return True if the frame is to be published, False if it is taken, or another was quicker.

        Parameters
        ----------
        left_s
            Time until the deadline of the frame, in seconds; None: no deadline.
        until_s
            Monotonic time at which the wait for Kafka ends, in seconds.

        Raises
        ------
        Problem
            ``key-reused`` if the key belongs to another image.
        """
        key = key_of(frame_id) or frame_id
        known = self.table.standing(key)
        # Another gateway may have claimed the key since the caller looked, and its claim must not be replaced.
        if self._is_taken_by(known, frame_id):
            return False
        claim = Claim(
            claim_id=f"{self._writer}-{next(self._numbers)}",
            frame_id=frame_id,
            due_s=_GRACE_S + (_DUE_S if left_s is None else min(left_s, _DUE_S)),
            replaces=None if known is None else known.claim.claim_id,
        )
        await self._written(claim, until_s)
        standing = self.table.standing(key)
        if standing is not None and standing.claim.frame_id != frame_id:
            raise key_reused(frame_id)
        return standing is not None and standing.claim.claim_id == claim.claim_id

    def release(self, frame_id: str) -> None:
        """Release a key whose frame was not published. Does nothing if another process has the key."""
        standing = self.table.standing(key_of(frame_id) or frame_id)
        if standing is None or standing.claim.frame_id != frame_id:
            return
        if standing.claim.claim_id.startswith(f"{self._writer}-"):
            self._release(standing.claim)

    def _is_taken_by(self, known: StandingClaim | None, frame_id: str) -> bool:
        """Return True if a claim keeps others from its key; raise ``key-reused`` if it is for another frame."""
        now_s = self._clock.monotonic_s()
        if known is None or now_s - known.read_s > self._kept_s:
            return False
        if known.claim.frame_id != frame_id:
            raise key_reused(frame_id)
        return now_s < known.overdue_s

    async def _written(self, claim: Claim, until_s: float) -> None:
        """Add a claim to the table."""
        self._add(claim)

    def _release(self, claim: Claim) -> None:
        self._add(self._released(claim))

    def _released(self, claim: Claim) -> Claim:
        """Return the claim that releases another one."""
        return Claim(f"{claim.claim_id}-release", claim.frame_id, 0.0, claim.claim_id, is_release=True)

    def _add(self, claim: Claim) -> None:
        now_s = self._clock.monotonic_s()
        self.table.add(claim, round(now_s * 1e6), now_s)
