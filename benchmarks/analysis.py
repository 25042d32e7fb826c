"""Analysis of known populations: how often its 95 % intervals contain the truth, and how long a million rows take.

Scores are Beta(5, 2) for defective parts (10 %) and Beta(2, 5) for good parts. A share of all parts is labelled at
random, and all rejected parts are labelled. The champion's rates, the best threshold and its saving are known exactly.

    python -m benchmarks.analysis [--populations 200] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import beta, norm

from replay.analysis import analyse, compare
from replay.analysis.points import Labelled
from replay.analysis.rates import rates_of
from replay.analysis.recommend import recommend
from replay.analysis.slices import find_slices
from replay.analysis.table import DEFECTIVE, GOOD, UNKNOWN, Table
from replay.analysis.view import decider_view
from replay.past.replayed_frame import RECORDED

SHARE, THRESHOLD, COST_RATIO = 0.1, 0.5, 20.0
#: Number of parts, and share of them that is labelled at random.
SETTINGS = ((1_000, 1.0), (2_000, 0.2), (20_000, 0.05), (20_000, 0.02))
#: Scores of the two compared deciders: own noise, common noise, and the challenger's gain on defective parts.
_NOISE, _COMMON, _BETTER = 0.08, 0.1, 0.02


def table_of(score: Any, is_bad: Any, random: Any, share: float, challenger: Any = None) -> Table:
    """Return a table of these scores, labelled as on a line."""
    count = len(score)
    is_random = random.random(count) < share
    labelled = is_random | (score >= THRESHOLD)
    because = np.where(is_random, "random", "reject").astype(object)
    because[~labelled] = None
    columns: dict[str, Any] = {
        "hidden": np.where(is_bad, DEFECTIVE, GOOD),
        "truth": np.where(labelled, np.where(is_bad, DEFECTIVE, GOOD), UNKNOWN).astype(np.int8),
        "sampled_because": because,
        "captured_at_us": np.arange(count) * 1_000_000,
        "recorded.is_late": np.full(count, -1, np.int8),
        "copies": np.ones(count, np.int64),
        "partition": np.zeros(count, np.int64),
        "offset": np.arange(count),
    }
    for name in ("latency", "queue", "decode", "infer"):
        columns[f"recorded.{name}_ms"] = random.exponential(10, count)
    for name, values in {
        "frame_id": [f"f{row}" for row in range(count)],
        "image_sha256": [f"i{row}" for row in range(count)],
        "part_id": [f"p{row}" for row in range(count)],
        "camera": [f"s/c{row % 3}" for row in range(count)],
        "lot": [f"L{row * 20 // count}" for row in range(count)],
        "topic": ["t"] * count,
        "defect": [None] * count,
    }.items():
        columns[name] = np.array(values, object)
    for number in range(8):
        columns[f"signal.s{number}"] = random.normal(size=count)
    deciders = {RECORDED: score} if challenger is None else {RECORDED: score, "challenger": challenger}
    for name, scores in deciders.items():
        rejects = scores >= THRESHOLD
        columns[f"{name}.score"], columns[f"{name}.threshold"] = scores, np.full(count, THRESHOLD)
        columns[f"{name}.verdict"] = np.where(rejects, "NOT_OK", "OK").astype(object)
        columns[f"{name}.action"] = np.where(rejects, "REJECT", "ACCEPT").astype(object)
        columns[f"{name}.result_state"] = np.full(count, "COMPLETED", object)
        columns[f"{name}.model"] = np.full(count, f"{name} 1 abcdef01", object)
    return Table(tuple(deciders), columns)


def population(seed: int, count: int, share: float) -> Table:
    """Return a table of random parts as the module docstring describes them."""
    random = np.random.default_rng(seed)
    is_bad = random.random(count) < SHARE
    score = np.where(is_bad, random.beta(5, 2, count), random.beta(2, 5, count))
    return table_of(score, is_bad, random, share)


def paired(seed: int, count: int, share: float) -> Table:
    """Return a table of two deciders with correlated scores; the challenger is a little better on defective parts."""
    random = np.random.default_rng(seed)
    is_bad = random.random(count) < SHARE
    common = np.where(is_bad, 0.62, 0.3) + random.normal(0, _COMMON, count)
    one, two = (np.clip(common + random.normal(0, _NOISE, count), 0, 1) for _ in range(2))
    return table_of(one, is_bad, random, share, np.clip(two + np.where(is_bad, _BETTER, 0), 0, 1))


def cost(threshold: float) -> float:
    """Return the true cost of a threshold for 1,000 parts, in overkills."""
    escapes, overkill = SHARE * beta.cdf(threshold, 5, 2), (1 - SHARE) * beta.sf(threshold, 2, 5)
    return float(1000 * (COST_RATIO * escapes + overkill))


def coverage(count: int, share: float, populations: int) -> dict[str, float]:
    """Return how often the intervals contain the truth, with the mean apparent, expected and true savings."""
    best = float(minimize_scalar(cost, bounds=(0, 1), method="bounded").x)
    spread = float(np.hypot(_COMMON, _NOISE))
    change = float(norm.cdf((0.5 - 0.62 - _BETTER) / spread) - norm.cdf((0.5 - 0.62) / spread))
    rows: list[dict[str, float]] = []
    for seed in range(populations):
        view = decider_view(population(seed, count, share))
        rates, found = rates_of(view), recommend(view, Labelled.of(view), COST_RATIO)
        delta = compare(paired(seed, count, share)).escape_rate
        truly = cost(THRESHOLD) - cost(found.threshold or 0.0)
        # The interval is about exactly these parts: if all of them have a label, nothing is uncertain.
        missed = float((view.score[view.column("hidden") == DEFECTIVE] < THRESHOLD).mean())
        rows.append(
            {
                "escape_rate": rates.escape_rate.low - 1e-9 <= missed <= rates.escape_rate.high + 1e-9,
                "best_threshold": (found.low or 0.0) <= best <= (found.high or 0.0),
                "saving": (found.saving_low or 0.0) <= truly <= (found.saving_high or 0.0),
                "change_of_escape_rate": (delta.low or 0.0) <= change <= (delta.high or 0.0),
                "apparent_saving": 1000 * (found.saving_on_stretch or 0.0) / count,
                "expected_saving": found.saving_per_1000 or 0.0,
                "true_saving": truly,
                "false_slices": any(one.is_significant for one in find_slices(view).slices),
            }
        )
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}


def seconds(what: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    what()
    return round(time.perf_counter() - began, 1)


def main() -> None:
    """Run all measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--populations", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = [
        {"parts": count, "random_share": share, **coverage(count, share, given.populations)}
        for count, share in SETTINGS
    ]
    table = population(0, given.rows, 0.01)
    large = {
        "rows": given.rows,
        "analyse_s": seconds(lambda: analyse(table)),
        "compare_s": seconds(lambda: compare(table, RECORDED, RECORDED)),
    }
    if given.json:
        lines = [json.dumps({"coverage": found, "large": large})]
    else:
        lines = [", ".join(f"{name} {value:g}" for name, value in row.items()) for row in (*found, large)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
