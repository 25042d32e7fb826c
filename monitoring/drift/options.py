"""Options of the watch of a camera."""

from __future__ import annotations

from dataclasses import dataclass, field

from monitoring.drift.budget import Budget
from schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """Options with which cameras are watched.

    Parameters
    ----------
    budget
        False alarms that a stationary camera may cause.
    slack
        Changes of a mean that are tolerated, in standard deviations of the reference: half of the smallest change
        that matters.
    learn_frames
        Without a training reference: number of frames of the camera that become its reference.
    settle_frames
        An episode whose new level has lasted for this number of watched frames is closed as *settled*: that level is
        the reference from then on.
    product_attribute
        Attribute of the frame that names the product.
    max_products
        Most products of a camera that are watched side by side, each with its own detectors. Beyond that, the product
        unseen for longest is evicted.
    warm_up_frames, warm_up_s
        Length of a warm-up after a start or a gap: it lasts until both are over. 0: no warm-up.
    warm_up_gap_s
        Seconds without a decision after which a camera warms up again.
    simulated
        Watch decisions on frames that were published again, and no others; the events are marked as simulated.
    """

    budget: Budget = field(default_factory=Budget)
    slack: float = 0.4
    learn_frames: int = 500
    settle_frames: int = 2000
    product_attribute: str = "product"
    max_products: int = 8
    warm_up_frames: int = 0
    warm_up_s: float = 0.0
    warm_up_gap_s: float = 3600.0
    simulated: bool = False

    def __post_init__(self) -> None:
        if not 0.05 <= self.slack <= 2:
            raise SettingsError(f"slack: 0.05 to 2 standard deviations, not {self.slack:g}")
        if self.learn_frames < 50:
            raise SettingsError(f"frames to learn from: at least 50, not {self.learn_frames}")
        if self.settle_frames < 400:
            raise SettingsError(f"frames until a level has settled: at least 400, not {self.settle_frames}")
        if not 1 <= self.max_products <= 64:
            raise SettingsError(f"products of a camera: 1 to 64, not {self.max_products}")
        if not 0 <= self.warm_up_frames <= 1_000_000:
            raise SettingsError(f"warm-up: 0 to 1,000,000 frames, not {self.warm_up_frames}")
        if not 0 <= self.warm_up_s <= 86_400:
            raise SettingsError(f"warm-up: at most a day, not {self.warm_up_s:g} s")
        if not 1 <= self.warm_up_gap_s <= 31_536_000:
            raise SettingsError(f"gap before a warm-up: 1 s to 365 days, not {self.warm_up_gap_s:g} s")
