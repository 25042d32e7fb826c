"""Questions about the outputs of an ONNX file: its task, and the role of each output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.agreement import NOT_READ, TASK_WORDS
from models.draft_answers import DraftAnswers
from models.errors import ModelPackageError
from models.metadata import is_finished, task_in
from models.onnx_graph import OnnxModel
from models.onnx_values import FLOATS, OnnxSignature, OnnxValue
from models.output_forms import OutputForm, may_be_rows, recognise

_TASKS = ("classification", "anomaly_map", "detection", "segmentation")
_BY_AXES = {2: "classification", 3: "detection", 4: "anomaly_map"}
_NUMBERS = FLOATS | {"int64", "int32", "uint8", "int8"}
_ROWS_OR_COLUMNS = (
    "detections=NAME for finished rows of x1, y1, x2, y2, score, class; predictions=NAME for (1, 4 + labels, boxes)"
)


class DraftOutputs:
    """Task and roles of a draft.

    Parameters
    ----------
    answers
        Answers of a person, which go before the file; open questions are added.
    notes
        Facts that were assumed; more are added.
    """

    def __init__(self, model: OnnxModel, signature: OnnxSignature, answers: DraftAnswers, notes: list[str]) -> None:
        self._model, self._signature, self._answers, self._notes = model, signature, answers, notes
        self.form: OutputForm | None = None

    def task(self) -> str | None:
        """Return the task; None if it is an open question.

        Raises
        ------
        ModelPackageError
            If the file is for a task whose results are not read, or if no output has scores as a tensor of numbers.
        """
        self._check_numbers()
        stated = task_in(self._model.metadata)
        if stated in NOT_READ:
            raise ModelPackageError(
                f"the file's metadata says task {stated}: {NOT_READ[stated]} are not read; export task detect, "
                "classify or semantic segmentation"
            )
        answer = None
        if self._answers.get("task") is not None:
            answer = self._answers.choice("task", _TASKS, "task of the model")
        known = answer or TASK_WORDS.get(stated)
        form, named = recognise(self._model, self._signature, known), self._answers.outputs()
        if form is not None and named in (None, form.names):
            self.form = form
            self._notes.append(f"task {form.task}, {_roles(form.names)}: {form.reason}")
            return form.task
        if known is not None:
            return known
        # (n, K, 1, 1) is no map: it may be scores of labels.
        sure = [value for value in self._floats() if len(value.shape) != 4 or value.shape[-2:] != (1, 1)]
        likely = {_BY_AXES[len(value.shape)] for value in sure if len(value.shape) in _BY_AXES}
        if len(likely) == 1:
            [task] = likely
            self._notes.append(f"task {task}: by the outputs {_listed(self._floats())}")
            return task
        return self._answers.choice("task", _TASKS, "task of the model")

    def _check_numbers(self) -> None:
        """Refuse a file whose scores no answer can make readable, before the other questions."""
        outputs, named = self._signature.outputs, set((self._answers.outputs() or {}).values())
        # The numbers of labels beside a ZipMap have one axis, those of a segmentation three or four.
        usable = [each for each in outputs if each.dtype in FLOATS or (each.dtype in _NUMBERS and len(each.shape) > 2)]
        for value in outputs:
            if value.dtype in _NUMBERS or (usable and value.name not in named):
                continue
            if value.dtype:
                fault, cure = f"has the type {value.dtype}", "export it with a Cast to float32"
            elif any(node.op.endswith("ZipMap") for node in self._model.graph.nodes):
                fault, cure = "has the maps of ZipMap", "export it without (skl2onnx: options={'zipmap': False})"
            else:
                fault, cure = "is no tensor", "export it as one tensor, not as a sequence or a map"
            raise ModelPackageError(f"output {value.name!r} {fault}, a package reads tensors of numbers: {cure}")

    def roles(self, task: str) -> dict[str, str]:
        """Return the name of the output for each role; empty if it is an open question."""
        answer = self._answers.outputs()
        if answer is not None:
            return answer
        if self.form is not None:
            return dict(self.form.names)
        if task == "classification":
            return self._one_of("scores", self._floats(2), ("score", "prob", "logit"))
        if task == "anomaly_map":
            if not self._floats(4) and len(self._floats()) == 1:
                return {"score": self._floats()[0].name}
            return self._one_of("map", self._floats(4), ("anomaly_map", "map"))
        return self._masks() if task == "segmentation" else self._boxes()

    def _boxes(self) -> dict[str, str]:
        if is_finished(self._model.metadata):
            raise ModelPackageError(
                "the file's metadata says that it suppresses overlapping boxes, and its outputs are no rows of x1, y1, "
                f"x2, y2, score, class ({_listed(self._signature.outputs)}): export task detect, or export without it "
                "(end2end=False, nms=False)"
            )
        found = self._floats(3)
        if len(found) == 1 and not may_be_rows(found[0]):
            return {"predictions": found[0].name}
        boxes = [value for value in found if value.shape[-1] == 4]
        if len(found) == 2 and len(boxes) == 1:
            return {"boxes": boxes[0].name, "scores": next(value.name for value in found if value is not boxes[0])}
        self._ask(_ROWS_OR_COLUMNS + ("" if len(found) == 1 else "; or boxes=NAME,scores=NAME,classes=NAME"))
        return {}

    def _masks(self) -> dict[str, str]:
        if len(self._floats(4)) == 1 and len(self._signature.outputs) == 1:
            return {"scores": self._floats(4)[0].name}
        self._ask("class_map=NAME for class numbers, or scores=NAME for a score of each label and place")
        return {}

    def _one_of(self, role: str, found: Sequence[OnnxValue], words: tuple[str, ...]) -> dict[str, str]:
        for word in words if len(found) > 1 else ():
            named = [value for value in found if word in value.name.lower()]
            if len(named) == 1:
                self._notes.append(f"output {named[0].name}: by its name, of {len(found)}")
                return {role: named[0].name}
        if len(found) == 1:
            return {role: found[0].name}
        self._ask(f"{role}=NAME")
        return {}

    def _ask(self, form: str) -> None:
        self._answers.ask("output", f"{form}; the outputs are {_listed(self._signature.outputs) or 'none'}")

    def _floats(self, axes: int | None = None) -> list[OnnxValue]:
        outputs = [value for value in self._signature.outputs if value.dtype in FLOATS]
        return [value for value in outputs if axes is None or len(value.shape) == axes]


def _roles(names: Mapping[str, str]) -> str:
    return ", ".join(f"{role}={name}" for role, name in names.items())


def _listed(values: Sequence[OnnxValue]) -> str:
    return ", ".join(f"{value.name} ({', '.join(_axis(size) for size in value.shape)})" for value in values)


def _axis(size: int | None) -> str:
    return "n" if size is None else str(size)
