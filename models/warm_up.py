"""Warm-up: a model runs on a few artificial pictures before the first frame, and its outputs are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from models.agreement import NOT_REPEATED, PackageDifference
from models.input_spec import InputSpec
from models.manifest import Manifest
from models.preprocess import Tensor, to_tensor
from models.task_spec import EMBEDDING, SPARSE_ROLES
from models.tasks import Outputs
from models.tasks.finding import activate
from models.tasks.prediction_columns import FINISHED, looks_like_rows
from models.tasks.segmentation import channels_first

#: For larger tensors only the black picture and noise are run.
_LARGE_BYTES = 32 * 1024**2
#: Tolerance of finished scores beyond 0 and 1: quantised scores are off by up to 1/256.
_TOLERANCE = 0.01
#: A map in [0, 1] whose ``high`` is above that is measured on another scale.
_NORMALISED_HIGH = 2.0
#: Defect score near the end of the range, which a model that rejects all pictures may reach for each of them.
_SATURATED = 0.99
#: Share of ``low``..``high`` that the maps of some made-up picture reach.
_REACHED = 0.03


def pictures(spec: InputSpec) -> Iterator[Tensor]:
    """Yield tensors of a black picture and of noise, then of a white one and of a ramp; always the same tensors.

    Examples
    --------
    >>> spec = InputSpec(name="x", width=4, height=2, colour="grey", dtype="uint8")
    >>> [int(tensor.max()) for tensor in pictures(spec)][:1], len(list(pictures(spec)))
    ([0], 4)
    """
    shape = (spec.height, spec.width) + (() if spec.colour == "grey" else (3,))
    noise = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    ramp = np.linspace(0, 255, spec.width).astype(np.uint8).reshape(1, -1, *(1,) * (len(shape) - 2))
    made = [np.zeros(shape, np.uint8), noise]
    if noise.size * (1 if spec.dtype == "uint8" else 4) <= _LARGE_BYTES:
        made += [np.full(shape, 255, np.uint8), np.ascontiguousarray(np.broadcast_to(ramp, shape))]
    for picture in made:
        yield to_tensor(picture, (spec.width, spec.height), spec)[0]


def repeat_differences(first: Outputs, again: Outputs) -> Iterator[PackageDifference]:
    """Yield a difference if the outputs for one picture change: the same image must always get the same decision."""
    changed = sorted(role for role, values in first.items() if not np.array_equal(values, again[role], equal_nan=True))
    if changed:
        yield PackageDifference(
            "random", ("file",), f"the same made-up picture gets other numbers ({', '.join(changed)}), {NOT_REPEATED}"
        )


def row_differences(outputs: Sequence[Outputs]) -> Iterator[PackageDifference]:
    """Yield a difference if predictions are finished rows on every picture but fit the shape of columns."""
    shapes = {each["predictions"].shape for each in outputs if "predictions" in each}
    if shapes and all(looks_like_rows(shape) for shape in shapes):
        yield PackageDifference(
            "rows", ("outputs", "names", "predictions"), f"the output has shape {min(shapes)}, as rows have: {FINISHED}"
        )


def constant_differences(
    outputs: Sequence[Outputs], scores: Sequence[float], manifest: Manifest
) -> Iterator[PackageDifference]:
    """Yield a difference if the outputs are the same for all pictures: each part would get the same verdict.

    Results of which there may be none, such as finished boxes, are left out. So are defect scores near 1: no made-up
    picture is a good part, and a finished score ends at 1.

    Parameters
    ----------
    outputs, scores
        Outputs of the network for very different pictures, and the defect score of each.
    """
    roles = set(manifest.outputs.names)
    # A map beside scores, and an embedding, decide nothing.
    deciding = roles - {EMBEDDING} - ({"map"} if roles & {"score", "scores"} else set())
    if roles & SPARSE_ROLES or min(scores) >= _SATURATED:
        return
    first, *others = outputs
    if all(np.array_equal(each[role], first[role]) for each in others for role in deciding):
        yield PackageDifference(
            "constant",
            ("file",),
            "the outputs are the same for all made-up pictures, so that each part gets the same verdict: see what the "
            "export left of the input and the weights",
        )


def score_differences(outputs: Sequence[Outputs], manifest: Manifest) -> Iterator[PackageDifference]:
    """Yield contradictions between the numbers of all pictures and the manifest's activation.

    Finished scores all lie in [0, 1], and those of a softmax add up to 1; raw numbers do not, over several pictures.
    """
    role = "predictions" if "predictions" in manifest.outputs.names else "scores"
    if role not in manifest.outputs.names:
        return
    raw = [each[role] for each in outputs]
    if role == "predictions":
        raw = [np.moveaxis(each[:, 4:], 1, -1) for each in raw]
    elif manifest.task == "segmentation":
        raw = [np.moveaxis(channels_first(each, manifest), 0, -1) for each in raw]
    rows = [np.asarray(each, np.float64).reshape(-1, each.shape[-1]) for each in raw if each.size]
    values = _finite(rows)
    if not values.size:
        return
    applied, low, high = manifest.outputs.activation, float(values.min()), float(values.max())
    inside = low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    seen = f"the scores of made-up pictures are from {low:.4g} to {high:.4g}"
    if applied == "none" and not inside:
        reason = (
            f"{seen}, not from 0 to 1: say `activation: softmax`, where the labels exclude each other, or "
            "`activation: sigmoid`"
        )
        if low >= -_TOLERANCE and high <= 100 + _TOLERANCE:
            reason += ". If they are percent, name the output of shares from 0 to 1"
    elif applied == "none" and role == "scores" and low == 1.0 and rows[0].shape[-1] > 1:
        reason = (
            "the scores of made-up pictures are all 1, as those of a softmax over another axis than that of the "
            "labels: export it with dim=-1"
        )
    elif applied == "softmax" and all(each.shape[-1] == 1 for each in rows):
        reason = "softmax over one score gives 1 for every part: say `activation: sigmoid`, or `none` if it is finished"
    elif applied == "softmax" and inside and _add_up(rows):
        reason = f"{seen} and add up to 1, finished before the manifest applies softmax again: say `activation: none`"
    elif applied == "sigmoid" and inside:
        reason = (
            f"{seen}. If they are raw numbers that happen to lie there, add `overrule: [activation]`. If they are "
            "finished before the manifest applies sigmoid again, say `activation: none`"
        )
    else:
        return
    yield PackageDifference("activation", ("outputs", "activation"), reason)


def map_differences(outputs: Sequence[Outputs], manifest: Manifest) -> Iterator[PackageDifference]:
    """Yield a difference if ``low``..``high`` is another scale than that of the maps: every part would be accepted.

    Exporters also write maps that are already normalised to [0, 1]; a ``high`` of raw distances does not fit them.
    """
    options = manifest.anomaly
    if options is None:
        return
    role = "map" if "map" in manifest.outputs.names else "score"
    what = "maps" if role == "map" else "finished scores"
    raw = _finite([each[role] for each in outputs])
    if not raw.size:
        return
    if manifest.outputs.activation == "sigmoid" and raw.min() >= -_TOLERANCE and raw.max() <= 1 + _TOLERANCE:
        yield PackageDifference(
            "activation",
            ("outputs", "activation"),
            f"the {what} of made-up pictures are from {raw.min():.4g} to {raw.max():.4g}, finished before the manifest "
            "applies sigmoid: say `activation: none`",
        )
    values = _finite([activate(each[role], manifest.outputs.activation) for each in outputs])
    low, high = float(values.min()), float(values.max())
    seen = f"the {what} of made-up pictures are from {low:.4g} to {high:.4g}, the manifest has {options.low:g} to "
    if low >= -_TOLERANCE and high <= 1 + _TOLERANCE and options.high > _NORMALISED_HIGH:
        yield PackageDifference(
            "threshold",
            ("anomaly", "high"),
            f"{seen}{options.high:g}: a {role} that is normalised already takes `low: 0` and `high: 1`",
        )
    elif high - options.low < _REACHED * (options.high - options.low):
        yield PackageDifference(
            "threshold",
            ("anomaly", "high"),
            f"{seen}{options.high:g}, and every score is near 0: take `low` and `high` from this model's {what} of "
            "good and of defective parts",
        )


def _finite(arrays: Sequence[np.ndarray]) -> np.ndarray:
    values: np.ndarray = np.concatenate([np.asarray(each, np.float64).ravel() for each in arrays] or [np.empty(0)])
    return np.asarray(values[np.isfinite(values)])


def _add_up(rows: Sequence[np.ndarray]) -> bool:
    """Return True if the scores of each row add up to 1, as those of a softmax do."""
    sums = _finite([each.sum(axis=-1) for each in rows])
    columns = max(each.shape[-1] for each in rows)
    return bool(np.all(np.abs(sums - 1) <= min(_TOLERANCE * columns, 0.1)))
