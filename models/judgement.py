"""Steps from a tensor to an inspection: run the network, find defects in its outputs, apply the rule."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.inspection import Inspection
from models.package import Model
from models.preprocess import Geometry, Tensor
from models.remarks import Remark
from models.rule import apply_rule, failed
from models.runtime import ORT_ERRORS, runtime_error_line
from models.signals import DEFECT_AREA, score_signals
from models.task_spec import EMBEDDING
from models.tasks import TASKS, Finding, Outputs
from models.tasks.finding import WrongShape


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """Result of a network for an image: outputs by role, the fault if there is one, and the time of the inference."""

    outputs: Outputs
    fault: str
    infer_ms: float


def run_network(model: Model, tensor: Tensor) -> NetworkOutput:
    """Run the network of a model on a tensor."""
    began = time.perf_counter()
    outputs: Outputs = {}
    fault = ""
    try:
        outputs = model.run(tensor)
    except ORT_ERRORS as error:
        fault = f"the model does not run on this image: {runtime_error_line(error)}"
    if not all(np.isfinite(values).all() for values in outputs.values()):
        fault = "the model's output is not a number"
    return NetworkOutput(outputs, fault, (time.perf_counter() - began) * 1000)


def interpret(model: Model, ran: NetworkOutput, geometry: Geometry) -> tuple[Finding, str]:
    """Return the finding of a network's outputs, and the fault if there is one."""
    if ran.fault:
        return Finding(math.nan), ran.fault
    try:
        return TASKS[model.manifest.task](ran.outputs, model.manifest, geometry), ""
    except WrongShape as error:
        return Finding(math.nan), f"the model's output for {error.role} {error}"


def conclude(
    model: Model,
    finding: Finding,
    fault: str,
    signals: Mapping[str, float],
    embedding: NDArray[np.float32] | None,
    durations_ms: dict[str, float],
    waited_ms: float,
    remarks: tuple[Remark, ...],
) -> Inspection:
    """Return the inspection that the rule of a model makes of a finding.

    Parameters
    ----------
    signals
        Signals of the image; those of score and embedding are added, unless there is a fault.
    embedding
        Output of the network in the role ``embedding``, if it has one.
    """
    rule = model.manifest.decision
    outcome = failed(fault, rule) if fault else apply_rule(finding.score, rule)
    found = dict(signals)
    if not fault:
        found |= score_signals(finding.score) | _embedding_signal(embedding, model)
        if finding.area is not None:
            found[DEFECT_AREA] = finding.area
    return Inspection(
        verdict=outcome.verdict,
        action=outcome.action,
        result_state=outcome.result_state,
        reason=outcome.reason,
        score=finding.score if math.isfinite(finding.score) else None,
        threshold=rule.threshold,
        labels=finding.labels,
        defects=finding.defects,
        signals=found,
        durations_ms=durations_ms,
        waited_ms=waited_ms,
        remarks=remarks,
    )


def embedding_in(outputs: Outputs) -> NDArray[np.float32] | None:
    """Return the embedding among the outputs as one row of numbers; None for a network without one."""
    found = outputs.get(EMBEDDING)
    return None if found is None else np.asarray(found, np.float32).reshape(-1)


def _embedding_signal(embedding: NDArray[np.float32] | None, model: Model) -> dict[str, float]:
    if embedding is None or model.reference is None:
        return {}
    distance = model.reference.embedding_distance(embedding)
    return {} if distance is None else {"embedding_distance": distance}
