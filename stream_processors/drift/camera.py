"""One camera under watch: decisions in, events of drift episodes out. No Kafka, and no clock of its own."""

from __future__ import annotations

import json
import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from models.reference import SignalReferences
from schemas.bounded_json import inflate, parse
from schemas.checked import fields, items, mapping, text, whole
from schemas.clock import is_future
from schemas.records import WARM_UP, Decision, DriftEvent, EpisodeState
from stream_processors.drift.event import event_of
from stream_processors.drift.options import DriftOptions
from stream_processors.drift.product import Identity, ProductWatch, changed, identity_of, name_of
from stream_processors.drift.segment import Segment
from stream_processors.drift.sensor import SensorCheck
from stream_processors.drift.starts import Starts
from stream_processors.drift.warm_up import WarmUp
from stream_processors.shelf import Shelf

#: Training references for a model (by sha256) and a product; None where there are none.
ReferencesOf = Callable[[str, str | None], SignalReferences | None]

#: Version 1 had one product.
_STATE_VERSION = 2
#: Frames whose ids are known, so that a decision read twice counts once.
_KNOWN_FRAMES = 500
#: Number of decisions of other products after which an open episode of a product is closed: the line has changed over.
_CHANGED_OVER = 50
#: Longest name of a frame, product, model or recipe.
_MAX_NAME = 1000
_MAX_STATE_BYTES = 16 * 1024 * 1024
#: Most bytes of a deflated state; beyond that the products unseen for longest are left out.
_MAX_PACKED_BYTES = 768 * 1024
_MAX_COUNTS = 1000


class StateError(ValueError):
    """Bytes that are no state of a camera under watch."""


class CameraWatch:
    """Watches the decisions of one camera.

    Products that alternate part by part are watched side by side, each with its own detectors and episodes. Memory:
    some 0.5 MiB a product with ten signals.

    Parameters
    ----------
    references_of
        Training references, see `models.reference`.
    options
        See `DriftOptions`.

    Examples
    --------
    >>> watch = CameraWatch(lambda model, product: None)
    >>> CameraWatch.restored(watch.state(), lambda model, product: None).counts
    Counter()
    """

    def __init__(self, references_of: ReferencesOf, options: DriftOptions | None = None) -> None:
        self._references_of = references_of
        self._options = options or DriftOptions()
        self._products: Shelf[ProductWatch] = Shelf(self._options.max_products, spare=_has_episode)
        self._now: ProductWatch | None = None
        self._sensor = SensorCheck()
        self._starts = Starts()
        self._warm_up = WarmUp(self._options)
        self._known: deque[str] = deque(maxlen=_KNOWN_FRAMES)
        #: Reason of the last start from scratch of the detectors.
        self.last_reset = ""
        #: Decisions by outcome (``watched``, ``warm-up``, ``duplicate``, ``old``, ``not-champion``,
        #: ``not-inspected``, ``names-too-long``), those whose clock is ``ahead``, ``resets``, ``clock-back``,
        #: ``forgotten-products``, and signals that were ``missing:`` or ``not-a-number:``.
        self.counts: Counter[str] = Counter()

    @property
    def stride(self) -> int:
        """One frame in so many is watched, see `stream_processors.drift.thinning`."""
        return 1 if self._now is None else self._now.segment.stride

    @property
    def in_episode(self) -> bool:
        """Whether an episode is open."""
        return any(_has_episode(product) for _, product in self._products.items())

    @property
    def products(self) -> int:
        """Products that are watched side by side."""
        return len(self._products)

    def decision(self, decision: Decision, *, now_us: int) -> list[DriftEvent]:
        """Take the next decision of the camera; ``now_us`` (UTC) is put on the events."""
        if is_future(decision.captured_at_us, now_us):  # no event may report a change in the future
            decision = replace(decision, captured_at_us=now_us)
        skipped, is_back = self._why_not(decision, now_us)
        if skipped:
            self.counts[skipped] += 1
            return []
        events = self._restart_all(decision, now_us, "reset: the camera's clock went back") if is_back else []
        if self._warm_up.look(decision):
            events += self._end_warm_up(decision, now_us)
        product, found = self._product(decision, now_us)
        events += found
        if not decision.signals:
            self.counts["not-inspected"] += 1
            return events
        self.counts["watched"] += 1
        if self._warm_up.is_on:
            self.counts["warm-up"] += 1
        return events + self._look(product, decision, now_us)

    def _why_not(self, decision: Decision, now_us: int) -> tuple[str, bool]:
        """Return the reason for not watching a decision, or "", and True if the camera's clock went back."""
        if decision.model_stage != "champion" or decision.is_simulated is not self._options.simulated:
            return "not-champion", False
        names = (decision.frame_id, *identity_of(decision, self._options.product_attribute).values())
        if max(len(name or "") for name in names) > _MAX_NAME:
            return "names-too-long", False
        if decision.frame_id in self._known:
            return "duplicate", False
        order = self._starts.look(decision, now_us)
        if order == "old":
            return order, False
        if order:
            self.counts["clock-back" if order == "back" else order] += 1
        self._known.append(decision.frame_id)
        return "", order == "back"

    def _product(self, decision: Decision, now_us: int) -> tuple[ProductWatch, list[DriftEvent]]:
        """Return the detectors for a decision, and the events of episodes that end because of it."""
        identity, before = identity_of(decision, self._options.product_attribute), self._now
        product, events = self._products.get(name_of(identity)), []
        if product is not None and product.identity != identity:  # another model, or another revision
            self._reset(changed(product.identity, identity))
            events += self._close(product, decision, now_us, self.last_reset)
            product = None
        elif product is None and before is not None:
            self._reset(changed(before.identity, identity))
            if len(self._products) < self._options.max_products:  # beyond that, names may be invented
                events += self._close_all(decision, now_us, self.last_reset)
        if product is None:
            product = ProductWatch(identity, self._segment(identity), self._options)
        for _, gone in self._products.see(name_of(identity), product):
            self.counts["forgotten-products"] += 1
            most = self._options.max_products
            events += self._close(gone, decision, now_us, f"reset: more than {most} products, this one is forgotten")
        self._now, product.away = product, 0
        for _, other in self._products.items():
            if other is not product and _has_episode(other):
                other.away += 1
                if other.away >= _CHANGED_OVER:
                    events += self._close(other, decision, now_us, changed(other.identity, identity))
        return product, events

    def _look(self, product: ProductWatch, decision: Decision, now_us: int) -> list[DriftEvent]:
        segment, keeper, is_warming = product.segment, product.keeper, self._warm_up.is_on
        self._sensor.look(decision, segment.references)
        if is_warming and segment.is_learning:
            return []  # an unusual level must not become the reference
        # At a shifted level, neighbours seem to resemble each other.
        is_off = keeper.episode is not None or is_warming
        looked = segment.look(decision, self.counts, in_episode=is_off)
        if keeper.episode is None and not (looked and looked.alarms) and self._is_said(self._sensor.cause):
            return []  # an episode of another product in front of the same sensor
        said = keeper.look(decision, looked, segment, self._sensor, self._known, is_warming=is_warming)
        if said is None:
            return []
        state, closed_because = said
        event = self._event(product, state, decision, now_us, closed_because)
        if state is EpisodeState.CLOSED:
            keeper.closed()
            product.segment = segment.relearned() if closed_because == "settled" else segment.restarted()
        return [event]

    def _is_said(self, cause: str) -> bool:
        episodes = [product.keeper.episode for _, product in self._products.items()]
        return bool(cause) and any(episode is not None and episode.cause == cause for episode in episodes)

    def _reset(self, why: str) -> None:
        self.last_reset = why
        self.counts["resets"] += 1

    def _restart_all(self, decision: Decision, now_us: int, why: str) -> list[DriftEvent]:
        self._reset(why)
        events = self._close_all(decision, now_us, why)
        for _, product in self._products.items():
            if not product.segment.is_learning:
                product.segment = product.segment.rewound()
        return events

    def _end_warm_up(self, decision: Decision, now_us: int) -> list[DriftEvent]:
        events = []
        for _, product in self._products.items():
            episode = product.keeper.episode
            if episode is not None and episode.cause == WARM_UP:
                events += self._close(product, decision, now_us, "reset: the warm-up is over")
            elif episode is not None:
                continue
            if not product.segment.is_learning:
                product.segment = product.segment.rewound()
        return events

    def _close_all(self, decision: Decision, now_us: int, why: str) -> list[DriftEvent]:
        return [event for _, product in self._products.items() for event in self._close(product, decision, now_us, why)]

    def _close(self, product: ProductWatch, decision: Decision, now_us: int, why: str) -> list[DriftEvent]:
        if not _has_episode(product):
            return []
        event = self._event(product, EpisodeState.CLOSED, decision, now_us, why)
        product.keeper.episode = None
        return [event]

    def _segment(self, identity: Identity) -> Segment:
        return Segment(self._references_of(identity["model"] or "", identity["product"]), self._options)

    def _event(
        self, product: ProductWatch, state: EpisodeState, decision: Decision, now_us: int, closed_because: str
    ) -> DriftEvent:
        episode, name = product.keeper.episode, product.identity["product"]
        assert episode is not None
        return event_of(episode, state, decision, product=name, now_us=now_us, closed_because=closed_because)

    def state(self) -> bytes:
        """Return the whole state, compressed: 20 to 60 KiB a product with ten signals, whatever the traffic.

        Above 768 KiB the products that were unseen for longest are left out.
        """
        products = [[self._products.seen(name), product.state()] for name, product in self._products.items()]
        while True:
            packed = self._packed(products)
            if len(packed) <= _MAX_PACKED_BYTES or len(products) <= 1:
                return packed
            products = products[1:]

    def _packed(self, products: list[list[Any]]) -> bytes:
        plain = {
            "version": _STATE_VERSION,
            "products": products,
            "now": None if self._now is None else self._now.name,
            "sensor": self._sensor.state(),
            "starts": self._starts.state(),
            "warm_up": self._warm_up.state(),
            "known": list(self._known),
            "last_reset": self.last_reset,
            "counts": dict(self.counts),
        }
        return zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 1)

    @classmethod
    def restored(cls, state: bytes, references_of: ReferencesOf, options: DriftOptions | None = None) -> CameraWatch:
        """Go on from a `state`.

        Raises
        ------
        StateError
            If it is none, or of another version: the camera is then watched from the start.
        """
        watch = cls(references_of, options)
        try:
            watch._restore(parse(inflate(state, _MAX_STATE_BYTES), _MAX_STATE_BYTES))
        except ValueError as error:
            raise StateError(f"no state of a camera: {error}") from error
        return watch

    def _restore(self, plain: Any) -> None:
        plain = fields(plain, ("version",))
        version = whole(plain["version"])
        if version == 1:
            plain = fields(plain, ("identity", "segment", "keeper", "newest"))
            plain |= {"products": [[0, plain]] if plain["identity"] else [], "starts": plain["newest"], "now": None}
        elif version != _STATE_VERSION:
            raise ValueError(f"a state of version {version}")
        plain = fields(plain, ("products", "now", "sensor", "starts", "known", "last_reset", "counts"))
        most = self._options.max_products
        for given in items(plain["products"], 2 * most + 2):
            seen, product_state = items(given, 2, 2)
            product = ProductWatch.restored(product_state, self._options)
            self._products.see(product.name, product, whole(seen))
            self._now = product if version == 1 or product.name == plain["now"] else self._now
        self._sensor.restore(plain["sensor"])
        self._starts.restore(plain["starts"])
        if "warm_up" in plain:
            self._warm_up.restore(plain["warm_up"])
        self._known.extend(text(frame_id) for frame_id in items(plain["known"], _KNOWN_FRAMES))
        self.last_reset = text(plain["last_reset"])
        self.counts.update({name: whole(count) for name, count in mapping(plain["counts"], _MAX_COUNTS).items()})


def _has_episode(product: ProductWatch) -> bool:
    return product.keeper.episode is not None
