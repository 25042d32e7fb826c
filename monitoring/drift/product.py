"""State of one product of a camera: its detectors, its episode, and the model and recipe that decide."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from monitoring.bounded_json import inflate, parse
from monitoring.checked import fields, optional_text, text, whole
from monitoring.drift.detector_bank import DetectorBank
from monitoring.drift.episode_tracker import EpisodeTracker
from monitoring.drift.options import DriftOptions
from monitoring.drift.sensor import ExposureCheck
from schemas.records import Decision

#: Product, model and recipe; a change makes the detectors begin from scratch.
Identity = Mapping[str, str | None]
_NAMES = ("product", "model", "recipe")
#: Number of decisions after a reset until which the detectors know too little. A changeover alone must not count as
#: blindness, so it is less than `stream_processors.watch.camera.UNWATCHED`.
SCRATCH = 99


def identity_of(decision: Decision, product_attribute: str) -> Identity:
    """Return product, model and recipe of a decision."""
    return {
        "product": decision.attributes.get(product_attribute),
        "model": decision.model_sha256,
        "recipe": f"{decision.recipe_id} {decision.recipe_revision}",
    }


def changed(before: Identity, now: Identity) -> str:
    """Return the differences as a text for a person.

    Examples
    --------
    >>> changed({"product": "A", "model": "m", "recipe": "r 1"}, {"product": "B", "model": "m", "recipe": "r 1"})
    'reset: product A -> B'
    """
    return "reset: " + ", ".join(f"{name} {before[name]} -> {now[name]}" for name in now if now[name] != before[name])


class ProductWatch:
    """Detectors and episode of one product.

    Parameters
    ----------
    identity
        See `identity_of`.
    detectors
        The detectors.
    options
        See `DriftOptions`.
    """

    def __init__(self, identity: Identity, detectors: DetectorBank, options: DriftOptions) -> None:
        self.identity = identity
        self.detectors = detectors
        self.tracker = EpisodeTracker(options.settle_frames)
        self.exposure = ExposureCheck()
        #: Number of decisions of other products since the last one of this product.
        self.unseen = 0
        #: Number of decisions after a reset that must still come until the detectors know enough, at most `SCRATCH`.
        self.scratch = 0
        self._packed: str | None = None

    @property
    def name(self) -> str:
        """Key for product and recipe; another revision or model has the same key."""
        return name_of(self.identity)

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {
            "identity": dict(self.identity),
            "segment": self.detectors.state(),
            "keeper": self.tracker.state(),
            "away": self.unseen,
            "scratch": self.scratch,
            **({"exposure": self.exposure.runs} if any(self.exposure.runs.values()) else {}),
        }

    def touch(self) -> None:
        """Record that something other than `unseen` has changed or will change."""
        self._packed = None

    def packed(self) -> str:
        """Return the `state`, deflated, in base64; it is computed once after each `touch`."""
        if self._packed is None:
            plain = json.dumps(self.state(), separators=(",", ":")).encode()
            self._packed = base64.b64encode(zlib.compress(plain, 1)).decode()
        return self._packed

    @classmethod
    def unpacked(cls, packed: str, options: DriftOptions, most_bytes: int) -> tuple[ProductWatch, int]:
        """Return a watch that resumes from a `packed` state, and its inflated size; raise ValueError otherwise."""
        plain = inflate(base64.b64decode(packed, validate=True), most_bytes)
        return cls.restored(parse(plain, most_bytes), options), len(plain)

    @classmethod
    def restored(cls, state: Any, options: DriftOptions) -> ProductWatch:
        """Resume from a `state`; raise ValueError for anything else."""
        state = fields(state, ("identity", "segment", "keeper"))
        given = fields(state["identity"], _NAMES)
        identity = {"product": optional_text(given["product"])} | {n: text(given[n]) for n in ("model", "recipe")}
        found = cls(identity, DetectorBank.restored(state["segment"], options), options)
        found.tracker.restore(state["keeper"], found.detectors.references)
        if "exposure" in state:
            found.exposure.restore(state["exposure"])
        found.unseen = whole(state.get("away", 0))
        found.scratch = whole(state.get("scratch", 0), 0, SCRATCH)
        return found


def name_of(identity: Identity) -> str:
    """Return the key of a product and its recipe, without the recipe's revision."""
    product, recipe = identity["product"], str(identity["recipe"]).rpartition(" ")[0]
    return f"{'' if product is None else f'={product}'}\0{recipe}"
