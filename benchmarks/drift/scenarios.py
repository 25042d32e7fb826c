"""Streams with a known change: a function of pools and a random generator yields frame after frame.

Each stream begins with `BEFORE` usual frames, then it changes. Frames are drawn with replacement from the test and
validation images of the data set, so two frames with the same content are the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.drift.pools import STEPS, Picture

Pools = Mapping[str, list[Picture]]
Stream = Iterator[Picture]

BEFORE = 1500
#: Number of frames over which a lamp decays, or dust gathers.
SLOW = 5000
#: Mean length of a scene in frames; the frames of a scene are alike.
SCENE = 20


@dataclass(frozen=True, slots=True)
class Scenario:
    """Stream with one kind of change.

    Parameters
    ----------
    make
        Function that returns the endless stream.
    after
        Number of frames after the change within which it must be found.
    is_sudden
        True if the aim of 200 frames applies to it.
    product
        Product attribute of the frames. None: they have no such attribute.
    plotted
        Number of frames after the change in the plot; 0: as ``after``.
    """

    name: str
    make: Callable[[Pools, np.random.Generator], Stream]
    after: int
    is_sudden: bool = True
    product: str | None = None
    plotted: int = 0


def draw(pool: list[Picture], rng: np.random.Generator) -> Stream:
    """Yield pictures of a pool, with replacement, without end."""
    while True:
        yield from (pool[index] for index in rng.integers(0, len(pool), 500))


def _usual(pools: Pools, rng: np.random.Generator) -> Stream:
    yield from draw(pools["usual"], rng)


def _step(name: str) -> Callable[[Pools, np.random.Generator], Stream]:
    def make(pools: Pools, rng: np.random.Generator) -> Stream:
        usual = draw(pools["usual"], rng)
        yield from (next(usual) for _ in range(BEFORE))
        yield from draw(pools[name], rng)

    return make


def _slow(name: str) -> Callable[[Pools, np.random.Generator], Stream]:
    def make(pools: Pools, rng: np.random.Generator) -> Stream:
        usual = draw(pools["usual"], rng)
        yield from (next(usual) for _ in range(BEFORE))
        number = 0
        while True:
            step = min(number * STEPS // SLOW, STEPS - 1)
            pool = pools[f"{name}-{step}"]
            yield pool[rng.integers(0, len(pool))]
            number += 1

    return make


def _product(pools: Pools, rng: np.random.Generator) -> Stream:
    mono, poly = ([p for p in pools["usual"] if p.product == kind] for kind in ("mono", "poly"))
    stream = draw(mono, rng)
    yield from (next(stream) for _ in range(BEFORE))
    yield from draw(poly, rng)


def _frozen(pools: Pools, rng: np.random.Generator) -> Stream:
    usual = draw(pools["usual"], rng)
    yield from (next(usual) for _ in range(BEFORE))
    last = next(usual)
    while True:
        yield last


def _recurring(pools: Pools, rng: np.random.Generator) -> Stream:
    day, night = draw(pools["usual"], rng), draw(pools["night"], rng)
    while True:
        yield from (next(day) for _ in range(BEFORE))
        yield from (next(night) for _ in range(1000))


def _scenes(pools: Pools, rng: np.random.Generator) -> Stream:
    """Yield a video: a scene is the same image, moved a little from frame to frame."""
    takes = [pools[f"scene-{take}"] for take in range(4)]
    take = 0
    while True:
        image = rng.integers(0, len(takes[0]))
        for _ in range(rng.geometric(1 / SCENE)):
            take = (take + int(rng.integers(1, 4))) % 4
            yield takes[take][image]


STATIONARY = Scenario("no change", _usual, 0)
#: Nothing changes here either, but neighbouring frames are alike.
VIDEO = Scenario("no change, video", _scenes, 0)
CHANGES: tuple[Scenario, ...] = (
    Scenario("exposure -15 %", _step("exposure"), 2000),
    Scenario("lamp decays, 5,000 frames", _slow("lamp"), SLOW, is_sudden=False),
    Scenario("focus lost", _step("focus"), 2000),
    Scenario("vibration", _step("vibration"), 2000),
    Scenario("dust grows, 5,000 frames", _slow("dust"), SLOW, is_sudden=False),
    Scenario("sensor gain noise", _step("noise"), 2000),
    Scenario("mono to poly cells", _product, 2000, product="mono"),
    Scenario("camera frozen", _frozen, 2000),
    Scenario("day and night", _recurring, 1000, plotted=8000),
)
#: All scenarios by name.
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in (STATIONARY, VIDEO, *CHANGES)}
