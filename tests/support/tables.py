"""Tables for the tests of analysis: small ones by hand, large ones from a known population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from replay.analysis.table import DEFECTIVE, GOOD, UNKNOWN, Table
from replay.past.replayed_frame import RECORDED

BEGIN_US = 1_795_500_000_000_000
MS = 1_000
DEFAULTS: dict[str, Any] = {
    "part_id": None, "line": "l", "station": "s", "camera": "s/c", "lot": None, "topic": "t.frames",
    "defect": None, "sampled_because": None, "copies": 1, "partition": 0, "truth": UNKNOWN,
}  # fmt: skip
DECIDED: dict[str, Any] = {
    "verdict": "OK", "action": "ACCEPT", "result_state": "COMPLETED", "model": "m 1 abcdef01", "reason": "",
}  # fmt: skip
TIMES: dict[str, Any] = {"latency_ms": 10.0, "queue_ms": 1.0, "decode_ms": 2.0, "infer_ms": 5.0, "is_late": -1}
TEXTS = {
    "part_id",
    "line",
    "station",
    "camera",
    "lot",
    "topic",
    "defect",
    "sampled_because",
    "frame_id",
    "image_sha256",
}
NUMBERS = {"score", "threshold", *TIMES}


def make_table(count: int, *, variants: tuple[str, ...] = (), **columns: Any) -> Table:
    """A table of ``count`` rows; columns are named as in a table, dots as two underscores.

    Actions and verdicts follow from scores and thresholds where they are not given.
    """
    given = {name.replace("__", "."): value for name, value in columns.items()}
    found: dict[str, Any] = {
        "frame_id": [f"f{row}" for row in range(count)],
        "image_sha256": [f"i{row}" for row in range(count)],
        "offset": np.arange(count),
        "captured_at_us": BEGIN_US + np.arange(count) * 1_000_000,
        "timestamp_us": BEGIN_US + np.arange(count) * 1_000_000,
        **DEFAULTS,
        **{f"{RECORDED}.{name}": value for name, value in TIMES.items()},
    }
    for decider in (RECORDED, *variants):
        score = np.broadcast_to(given.get(f"{decider}.score", 0.2), count).astype(float)
        threshold = np.broadcast_to(given.get(f"{decider}.threshold", 0.5), count).astype(float)
        rejects = score >= threshold
        found |= {f"{decider}.{name}": value for name, value in DECIDED.items()}
        found |= {f"{decider}.score": score, f"{decider}.threshold": threshold}
        found[f"{decider}.verdict"] = np.where(rejects, "NOT_OK", "OK")
        found[f"{decider}.action"] = np.where(rejects, "REJECT", "ACCEPT")
    found |= given
    return Table((RECORDED, *variants), {name: _column(name, value, count) for name, value in found.items()})


def _column(name: str, value: Any, count: int) -> Any:
    if name in TEXTS or name.startswith("attribute.") or name.rpartition(".")[2] in DECIDED:
        column = np.empty(count, object)
        column[:] = [value] * count if value is None or isinstance(value, str) else list(value)
        return column
    kind = (
        np.float64 if name.startswith("signal.") or name.rpartition(".")[2] in {"score", "threshold", *TIMES} else None
    )
    small = name == "truth" or name.endswith("is_late")
    return np.broadcast_to(np.asarray(value, np.int8 if small else kind), count).copy()


def labels(truth: Any, because: str | list[str | None] = "random") -> dict[str, Any]:
    """Columns of labels on every row with a truth."""
    truth = np.asarray(truth, np.int8)
    reasons = [because] * len(truth) if isinstance(because, str) else because
    return {
        "truth": truth,
        "sampled_because": [r if t != UNKNOWN else None for r, t in zip(reasons, truth, strict=True)],
    }


def population(
    seed: int,
    count: int,
    *,
    defective: float = 0.1,
    random_share: float = 1.0,
    label_rejects: bool = True,
    threshold: float = 0.5,
    good: tuple[float, float] = (2.0, 5.0),
    bad: tuple[float, float] = (5.0, 2.0),
    **columns: Any,
) -> Table:
    """Parts whose scores are Beta by truth; labelled at random, and where rejected.

    ``columns["hidden"]`` of the table has the truth of all.
    """
    random = np.random.default_rng(seed)
    is_bad = random.random(count) < defective
    score = np.where(is_bad, random.beta(*bad, count), random.beta(*good, count))
    is_random = random.random(count) < random_share
    rejected = score >= threshold
    labelled = is_random | (rejected & label_rejects)
    hidden = np.where(is_bad, DEFECTIVE, GOOD).astype(np.int8)
    because = np.where(is_random, "random", "reject").astype(object)
    because[~labelled] = None
    return make_table(
        count, recorded__score=score, recorded__threshold=threshold, hidden=hidden,
        truth=np.where(labelled, hidden, UNKNOWN), sampled_because=because, **columns,
    )  # fmt: skip


def with_columns(table: Table, **columns: Any) -> Table:
    """The table with other columns besides, or in place."""
    added: Mapping[str, Any] = {name.replace("__", "."): value for name, value in columns.items()}
    count = len(table)
    return Table(table.deciders, {**table.columns, **{name: _column(name, v, count) for name, v in added.items()}})
