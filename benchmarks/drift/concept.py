"""Concept drift: the same pictures, but a new rule for rejects. Only labels can show it.

Until the change, the label of a part is the experts' judgement. After the change, parts that are as dark as the darker
half of the images count as defective too. An accepted part is labelled with a chance of 1 in 10, a rejected part
always, in order of capture, as on a line with a random sample of accepted parts.
"""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np

from benchmarks.drift.contenders import _decision
from benchmarks.drift.pools import Picture
from benchmarks.drift.scenarios import Pools, draw
from monitoring.quality.concept_monitor import ConceptMonitor
from schemas.records import Action, Label, Verdict

SHARE_OF_ACCEPTS = 0.1


def concept_alarms(pools: Pools, seed: int, frames: int, change: int | None) -> tuple[list[int], int]:
    """Return the frames at which alarms came, and the number of labels from the change to the first alarm after it."""
    rng = np.random.default_rng(seed)
    pool = pools["usual"]
    dark = statistics.median(picture.signals["brightness"] for picture in pool)
    monitor = ConceptMonitor("bench/cam")
    found, labels, labels_until = [], 0, 0
    for number, picture in zip(range(frames), draw(pool, rng), strict=False):
        decision = _decision(picture, number, None)
        alarms = monitor.decision(dataclasses.replace(decision, action=picture.action))
        new_rule = change is not None and number >= change
        is_bad = _is_bad(picture, dark) if new_rule else picture.is_defective
        accepted = picture.action is Action.ACCEPT
        if picture.action is not Action.REVIEW and (not accepted or rng.random() < SHARE_OF_ACCEPTS):
            labels += new_rule
            alarms += monitor.label(
                Label(
                    label_id=str(number), station="bench", camera_id="cam", frame_id=decision.frame_id,
                    truth=Verdict.NOT_OK if is_bad else Verdict.OK, labelled_at_us=number, labelled_by="bench",
                    sampled_because="random" if accepted else "reject",
                )
            )  # fmt: skip
        if alarms:
            found.append(number)
            if new_rule:
                labels_until = labels_until or labels
                break
    return found, labels_until


def _is_bad(picture: Picture, dark: float) -> bool:
    return picture.is_defective or picture.signals["brightness"] < dark
