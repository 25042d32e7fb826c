"""Watch of one camera: takes decisions, returns events of drift episodes. No Kafka, and no clock of its own."""

from __future__ import annotations

import json
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from models.reference import SignalReferences
from monitoring.bounded_json import inflate, parse
from monitoring.checked import fields, items, mapping, text, whole
from monitoring.drift.detector_bank import DetectorBank
from monitoring.drift.event import episode_event
from monitoring.drift.observation import Observation
from monitoring.drift.options import DriftOptions
from monitoring.drift.product import SCRATCH, Identity, ProductWatch, changed, identity_of, name_of
from monitoring.drift.sensor import SensorCheck, SensorFault
from monitoring.drift.starts import Starts
from monitoring.drift.tracked_episode import EpisodeUpdate
from monitoring.drift.warm_up import WarmUp
from monitoring.errors import StateError
from monitoring.shelf import Shelf
from schemas.clock import is_future
from schemas.records import WARM_UP, Decision, DriftEvent, EpisodeState, ResultState

#: Function that returns the training references for a model (by sha256) and a product; None if there are no references.
ReferencesOf = Callable[[str, str | None], SignalReferences | None]

#: Version 1 had one product; in version 2 products were not packed one by one.
_STATE_VERSION = 3
#: Number of frames whose ids are remembered, so that a decision that is read twice counts once.
_KNOWN_FRAMES = 500
#: Number of decisions of other products after which an open episode of a product is closed: the line has changed over.
_CHANGED_OVER = 50
#: Number of decisions after which the former model or revision of a product is forgotten: it was replaced.
_REPLACED = 5000
#: Longest name of a frame, product, model or recipe.
_MAX_NAME = 1000
_MAX_STATE_BYTES = 16 * 1024 * 1024
#: Most bytes of packed products; beyond it, the products unseen for longest are left out.
_MAX_PACKED_BYTES = 1024 * 1024
#: Most products in a state, whatever the options were when it was written.
_MAX_PRODUCTS = 200
_MAX_COUNTS = 1000


class CameraWatch:
    """Watch of the decisions of one camera.

    Products that alternate part by part are watched side by side, each with its own detectors and episodes. So are two
    models or recipe revisions of a product, as in a rolling upgrade; if a third one comes, the one unseen for longer is
    evicted. Memory: about 0.5 MiB for each product with ten signals, twice that during an upgrade.

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
        self._products: Shelf[ProductWatch] = Shelf(self._options.max_products, spare=self._is_spared)
        #: The other model or revision of a product, by the same names.
        self._twins: dict[str, ProductWatch] = {}
        #: Products of a restored state for which there is no room: the next decision closes their episodes.
        self._left_out: list[ProductWatch] = []
        self._now: ProductWatch | None = None
        self._sensor = SensorCheck()
        self._starts = Starts()
        self._warm_up = WarmUp(self._options)
        self._known: deque[str] = deque(maxlen=_KNOWN_FRAMES)
        #: Frames that were shed so far: another worker may still have inspected them.
        self._shed: deque[str] = deque(maxlen=_KNOWN_FRAMES)
        #: Reason of the last start from scratch of the detectors.
        self.last_reset = ""
        #: Decisions by outcome (``watched``, ``warm-up``, ``duplicate``, ``old``, ``second-producer``,
        #: ``not-champion``, ``not-inspected``, ``names-too-long``), those whose clock is ``ahead``, ``resets``,
        #: ``clock-back``, ``forgotten-products``, ``after-reset`` (the detectors know too little yet),
        #: ``warm-up-again`` (a warm-up that follows another one without a normal frame), and signals that were
        #: ``missing:`` or ``not-a-number:``.
        self.counts: Counter[str] = Counter()

    @property
    def stride(self) -> int:
        """Interval of the watched frames: 1 if every frame is watched, see `monitoring.drift.thinning`."""
        return 1 if self._now is None else self._now.detectors.stride

    @property
    def in_episode(self) -> bool:
        """True if an episode is open."""
        return any(map(_has_episode, self._all()))

    @property
    def products(self) -> int:
        """Number of products that are watched side by side."""
        return len(self._products)

    def decision(self, decision: Decision, *, now_us: int) -> list[DriftEvent]:
        """Process the next decision of the camera and return its events; ``now_us`` (UTC) is their time of emission."""
        if is_future(decision.captured_at_us, now_us):  # no event may report a change in the future
            decision = replace(decision, captured_at_us=now_us)
        skipped, is_back = self._skip_reason(decision, now_us)
        if skipped:
            self.counts[skipped] += 1
            return []
        events = self._restart_all(decision, now_us, "reset: the camera's clock went back") if is_back else []
        repeated = self._warm_up.repeated
        if self._warm_up.advance(decision):
            events += self._end_warm_up(decision, now_us)
        if self._warm_up.repeated > repeated:
            self.counts["warm-up-again"] += 1
        product, found = self._product(decision, now_us)
        events += found
        if not decision.signals:
            self.counts["not-inspected"] += 1
            return events
        self.counts["watched"] += 1
        if self._warm_up.is_on:
            self.counts["warm-up"] += 1
        if product.scratch:
            product.scratch -= 1
            self.counts["after-reset"] += 1
        return events + self._observe(product, decision, now_us)

    def _skip_reason(self, decision: Decision, now_us: int) -> tuple[str, bool]:
        """Return the reason for not watching a decision, or "", and True if the camera's clock went back."""
        if decision.model_stage != "champion" or decision.is_simulated is not self._options.simulated:
            return "not-champion", False
        names = (decision.frame_id, *identity_of(decision, self._options.product_attribute).values())
        if max(len(name or "") for name in names) > _MAX_NAME:
            return "names-too-long", False
        is_shed = decision.result_state is ResultState.ABORTED
        if decision.frame_id in self._known or (is_shed and decision.frame_id in self._shed):
            return "duplicate", False
        order = self._starts.classify(decision, now_us)
        if order in ("old", "second-producer"):
            return order, False
        if order:
            self.counts["clock-back" if order == "back" else order] += 1
        (self._shed if is_shed else self._known).append(decision.frame_id)
        return "", order == "back"

    def _product(self, decision: Decision, now_us: int) -> tuple[ProductWatch, list[DriftEvent]]:
        """Return the detectors for a decision, and the events of episodes that end because of it."""
        identity, before = identity_of(decision, self._options.product_attribute), self._now
        name, most = name_of(identity), self._options.max_products
        product, events = self._products.get(name), []
        for gone in self._left_out:
            events += self._close(gone, decision, now_us, f"reset: more than {most} products, this one is forgotten")
        self._left_out = []
        if product is not None and product.identity != identity:  # another model, or another revision
            known, self._twins[name] = self._twins.get(name), product
            if known is None or known.identity != identity:
                self._reset(changed(product.identity, identity))
                for gone in filter(None, (product, known)):
                    events += self._close(gone, decision, now_us, self.last_reset)
                known = None
            product = known
        elif product is None and before is not None:
            self._reset(changed(before.identity, identity))
            if len(self._products) < most:  # with more products, the names may be invented
                events += self._close_all(decision, now_us, self.last_reset)
        if product is None:
            product = ProductWatch(identity, self._detectors(identity), self._options)
            product.scratch = 0 if before is None else SCRATCH
        for gone_name, settled in self._products.see(name, product):
            self.counts["forgotten-products"] += 1
            for gone in filter(None, (settled, self._twins.pop(gone_name, None))):
                why = f"reset: more than {most} products, this one is forgotten"
                events += self._close(gone, decision, now_us, why)
        self._now, product.unseen = product, 0
        for other in self._all():
            if other is not product:
                other.unseen += 1
                if other.unseen >= _CHANGED_OVER and _has_episode(other):
                    events += self._close(other, decision, now_us, changed(other.identity, identity))
        self._twins = {name: twin for name, twin in self._twins.items() if twin.unseen < _REPLACED}
        return product, events

    def _all(self) -> Iterator[ProductWatch]:
        for name, product in self._products.items():
            yield product
            if name in self._twins:
                yield self._twins[name]

    def _is_spared(self, product: ProductWatch) -> bool:
        twin = self._twins.get(product.name)
        return _has_episode(product) or (twin is not None and _has_episode(twin))

    def _observe(self, product: ProductWatch, decision: Decision, now_us: int) -> list[DriftEvent]:
        product.touch()
        detectors, tracker, is_warming = product.detectors, product.tracker, self._warm_up.is_on
        self._sensor.observe(decision, detectors.references)
        product.exposure.observe(decision, detectors.references)
        fault = self._sensor.fault(detectors.references) or product.exposure.fault(detectors.references)
        if is_warming and detectors.is_learning:
            return []  # an unusual level must not become the reference
        # At a shifted level, neighbouring frames seem to resemble each other.
        is_off = tracker.episode is not None or is_warming
        found = detectors.update(decision, self.counts, in_episode=is_off)
        if tracker.episode is None and not (found and found.alarms) and not self._is_new(fault):
            return []
        update = tracker.update(
            Observation(
                camera=decision.key,
                frame_id=decision.frame_id,
                captured_at_us=decision.captured_at_us,
                recent_ids=tuple(self._known),
                is_warming=is_warming,
                is_watched=found is not None,
                alarms=found.alarms if found else (),
                completes_block=found is not None and found.completes_block,
                fault=fault,
                levels=detectors.levels(),
            )
        )
        if update is None:
            return []
        event = self._event(product, update, decision, now_us)
        tracker.record_published(update)
        if update.state is EpisodeState.CLOSED:
            product.detectors = detectors.relearned() if update.reason == "settled" else detectors.restarted()
        return [event]

    def _is_new(self, fault: SensorFault | None) -> bool:
        """Return True for a fault that no episode of another product in front of the sensor reports."""
        episodes = (product.tracker.episode for product in self._all())
        return fault is not None and all(episode is None or episode.cause != fault.cause for episode in episodes)

    def _reset(self, why: str) -> None:
        self.last_reset = why
        self.counts["resets"] += 1

    def _restart_all(self, decision: Decision, now_us: int, why: str) -> list[DriftEvent]:
        self._reset(why)
        events = self._close_all(decision, now_us, why)
        for product in self._all():
            product.touch()
            product.scratch = SCRATCH
            if not product.detectors.is_learning:
                product.detectors = product.detectors.rewound()
        return events

    def _end_warm_up(self, decision: Decision, now_us: int) -> list[DriftEvent]:
        events = []
        for product in self._all():
            product.touch()
            episode = product.tracker.episode
            if episode is not None and episode.cause == WARM_UP:
                events += self._close(product, decision, now_us, "reset: the warm-up is over")
            elif episode is not None:
                continue
            if not product.detectors.is_learning:
                product.detectors = product.detectors.rewound()
        return events

    def _close_all(self, decision: Decision, now_us: int, why: str) -> list[DriftEvent]:
        return [event for product in self._all() for event in self._close(product, decision, now_us, why)]

    def _close(self, product: ProductWatch, decision: Decision, now_us: int, why: str) -> list[DriftEvent]:
        if not _has_episode(product):
            return []
        event = self._event(product, EpisodeUpdate(EpisodeState.CLOSED, why), decision, now_us)
        product.touch()
        product.tracker.discard()
        return [event]

    def _detectors(self, identity: Identity) -> DetectorBank:
        return DetectorBank(self._references_of(identity["model"] or "", identity["product"]), self._options)

    def _event(self, product: ProductWatch, update: EpisodeUpdate, decision: Decision, now_us: int) -> DriftEvent:
        episode, name = product.tracker.episode, product.identity["product"]
        assert episode is not None
        return episode_event(episode, update, decision, product=name, now_us=now_us)

    def state(self) -> bytes:
        """Return the whole state, compressed: 20 to 80 KiB for each product with ten signals, whatever the traffic.

        A product is packed again only if it has changed. Above 1 MiB the products unseen for longest are left out.
        """
        rows: list[list[Any]] = []
        size_bytes = 0
        for name, product in reversed(list(self._products.items())):
            twin = self._twins.get(name)
            packed = [(one.unseen, one.packed()) for one in (product, twin) if one is not None]
            size_bytes += sum(len(state) * 3 // 4 for _, state in packed)  # deflating removes what base64 adds
            if rows and size_bytes > _MAX_PACKED_BYTES:
                break
            rows.append([self._products.seen(name), *packed])
        plain = {
            "version": _STATE_VERSION,
            "products": rows[::-1],
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
        """Return a watch that resumes from a `state`.

        Raises
        ------
        StateError
            If the bytes are not a state, or one of another version: the camera must then be watched from scratch.
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
        elif version not in (2, _STATE_VERSION):
            raise ValueError(f"a state of version {version}")
        plain = fields(plain, ("products", "now", "sensor", "starts", "known", "last_reset", "counts"))
        left_bytes = _MAX_STATE_BYTES
        for given in items(plain["products"], _MAX_PRODUCTS):
            seen, *found = items(given, 3, 2)
            products = []
            for one in found:
                if version == _STATE_VERSION:
                    away, packed = items(one, 2, 2)
                    packed = text(packed, _MAX_STATE_BYTES)
                    product, size_bytes = ProductWatch.unpacked(packed, self._options, left_bytes)
                    product.unseen, left_bytes = whole(away), left_bytes - size_bytes
                else:
                    product = ProductWatch.restored(one, self._options)
                products.append(product)
            self._put_back(products, whole(seen))
            self._now = products[0] if version == 1 or products[0].name == plain["now"] else self._now
        self._sensor.restore(plain["sensor"])
        self._starts.restore(plain["starts"])
        if "warm_up" in plain:
            self._warm_up.restore(plain["warm_up"])
        self._known.extend(text(frame_id) for frame_id in items(plain["known"], _KNOWN_FRAMES))
        self.last_reset = text(plain["last_reset"])
        self.counts.update({name: whole(count) for name, count in mapping(plain["counts"], _MAX_COUNTS).items()})

    def _put_back(self, products: list[ProductWatch], seen: int) -> None:
        """Add a product of a state, with its other model or revision; a product without room is left out."""
        product, *twins = products
        for twin in twins:
            if twin.name != product.name or twin.identity == product.identity:
                raise ValueError("two products in the place of one")
            self._twins[product.name] = twin
        for name, gone in self._products.see(product.name, product, seen):
            self.counts["forgotten-products"] += 1
            self._left_out += filter(None, (gone, self._twins.pop(name, None)))


def _has_episode(product: ProductWatch) -> bool:
    return product.tracker.episode is not None
