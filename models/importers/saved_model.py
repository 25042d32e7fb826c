"""Reader of TensorFlow's SavedModel without TensorFlow: its signatures and operators, by the wire format.

Field numbers are those of ``saved_model.proto`` and ``meta_graph.proto`` of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import ImportRefused
from models.protobuf import Malformed, ParseBudget, fields

PROTOBUF_NAME = "saved_model.pb"
_MAX_BYTES = 2**31 - 1
_TYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 7: "string", 9: "int64", 14: "bfloat16", 19: "float16"}
#: Signature that only initialises the model.
_INITIALISER = "__saved_model_init_op"
_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Tensor of a signature: its type, and its shape with None for free axes; None for a free number of axes."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class SavedModel:
    """Inputs of each signature by name, and the operators of all graphs."""

    signatures: dict[str, dict[str, TensorInfo]]
    operators: frozenset[str]


def newest_version(folder: Path) -> Path:
    """Return the folder of the model: the folder itself, or the newest version as TFX Pusher lays versions out.

    Pusher writes ``<base>/<version>/saved_model.pb``; a version is an integer, the time of the push.

    Raises
    ------
    ImportRefused
        If there is no model.
    """
    if (folder / PROTOBUF_NAME).is_file():
        return folder
    versions = [each for each in folder.iterdir() if each.name.isascii() and each.name.isdigit() and each.is_dir()]
    if not versions:
        raise ImportRefused(
            f"{folder}: not a model: a SavedModel is a folder with {PROTOBUF_NAME}, or with folders of integer versions"
        )
    newest = max(versions, key=lambda each: int(each.name))
    if not (newest / PROTOBUF_NAME).is_file():
        raise ImportRefused(
            f"{newest}: the newest version has no {PROTOBUF_NAME}, as of an unfinished push: name the folder of "
            "another version"
        )
    return newest


def read_saved_model(folder: Path) -> SavedModel:
    """Read the signatures of a SavedModel.

    Raises
    ------
    ImportRefused
        If the file is damaged, or the graph has variables and their folder is missing.
    """
    path = folder / PROTOBUF_NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ImportRefused(f"{path}: over 2 GiB")
        data = path.read_bytes()
        found = _parse(data)
    except OSError as error:
        raise ImportRefused(f"{path}: {error.strerror or error}") from error
    except (Malformed, UnicodeDecodeError) as error:
        raise ImportRefused(f"{path}: not a SavedModel: {error}; copy the whole folder again") from error
    if not found.signatures and not found.operators:
        raise ImportRefused(f"{path}: not a SavedModel: it has no graph; copy the whole folder again")
    if found.operators & _VARIABLES and not any((folder / "variables").glob("variables.index")):
        raise ImportRefused(
            f"{folder}: the graph has variables and the folder variables/ is missing: copy the whole folder again"
        )
    return found


def choose_signature(folder: Path, model: SavedModel, asked: str | None) -> str:
    """Return the name of the signature that takes an image.

    Parameters
    ----------
    asked
        Name that the user states; None: the one that takes an image tensor, ``serving_default`` first.

    Raises
    ------
    ImportRefused
        If no signature takes an image, or several do.
    """
    names = ", ".join(sorted(model.signatures))
    if asked is not None:
        if asked not in model.signatures:
            raise ImportRefused(f"--signature {asked}: {folder} has {names or 'no signatures'}")
        if (problem := _problem(asked, model)) is not None:
            raise ImportRefused(f"{folder}: {problem}")
        return asked
    if not model.signatures:
        raise ImportRefused(
            f"{folder}: it has no signature: save the model with signatures={{'serving_default': function of an image}}"
        )
    fitting = [name for name in model.signatures if _problem(name, model) is None]
    if "serving_default" in fitting:
        return "serving_default"
    if len(fitting) > 1:
        raise ImportRefused(f"{folder}: several signatures take an image: choose one with --signature {names}")
    if not fitting:
        first = "serving_default" if "serving_default" in model.signatures else sorted(model.signatures)[0]
        raise ImportRefused(f"{folder}: {_problem(first, model)}")
    return fitting[0]


def _problem(name: str, model: SavedModel) -> str | None:
    """Return the reason why a signature does not take one image; None if it does."""
    inputs = model.signatures[name]
    if any(each.dtype == "string" for each in inputs.values()):
        kind = "tf.Example" if any(op.startswith("Parse") for op in model.operators) else "bytes of files"
        return f"signature {name} takes serialized {kind}; export one that takes an image (serving_raw)"
    if len(inputs) != 1:
        given = ", ".join(sorted(inputs)) or "nothing"
        return f"signature {name} takes {given}; export one with one input, the image"
    [tensor] = inputs.values()
    if tensor.dtype not in ("float32", "uint8"):
        return f"signature {name} takes {tensor.dtype}; export one that takes float32 or uint8"
    if tensor.shape is not None and len(tensor.shape) != 4:
        return (
            f"signature {name} takes shape {list(tensor.shape)}, no image; export one with 4 axes: (n, h, w, channels)"
        )
    if tensor.shape is not None and tensor.shape[0] not in (None, 1):
        return (
            f"signature {name} takes batches of {tensor.shape[0]}, and the line inspects one image at a time; "
            "export it with a free first axis (None)"
        )
    return None


def _parse(data: bytes) -> SavedModel:
    budget = ParseBudget()
    signatures: dict[str, dict[str, TensorInfo]] = {}
    operators = set[str]()
    for meta_graph in _messages(memoryview(data), 2, budget):
        for each in fields(meta_graph, budget):
            if each.data is None:
                continue
            if each.number == 2:
                operators.update(_operators(each.data, budget))
            elif each.number == 5:
                name, value = _entry(each.data, budget)
                if name != _INITIALISER:
                    pairs = (_entry(pair, budget) for pair in _messages(value, 1, budget))
                    signatures[name] = {key: _tensor(info, budget) for key, info in pairs}
    return SavedModel(signatures, frozenset(operators))


def _operators(graph: memoryview, budget: ParseBudget) -> Iterator[str]:
    for each in fields(graph, budget):
        if each.data is None:
            continue
        if each.number == 1:
            yield from (_text(op) for op in _messages(each.data, 2, budget))
        elif each.number == 2:
            for function in _messages(each.data, 1, budget):
                for node in _messages(function, 3, budget):
                    yield from (_text(op) for op in _messages(node, 2, budget))


def _tensor(info: memoryview, budget: ParseBudget) -> TensorInfo:
    dtype, shape = "unknown", None
    for each in fields(info, budget):
        if each.number == 2:
            dtype = _TYPES.get(each.value, f"type {each.value}")
        elif each.number == 3 and each.data is not None:
            shape = _shape(each.data, budget)
    return TensorInfo(dtype, shape)


def _shape(data: memoryview, budget: ParseBudget) -> tuple[int | None, ...] | None:
    axes: list[int | None] = []
    for each in fields(data, budget):
        if each.number == 3 and each.value:
            return None
        if each.number == 2 and each.data is not None:
            sizes = [axis.value for axis in fields(each.data, budget) if axis.number == 1]
            # A free axis is -1.
            axes.append(sizes[-1] if sizes and sizes[-1] < 2**31 else None)
    return tuple(axes)


def _entry(data: memoryview, budget: ParseBudget) -> tuple[str, memoryview]:
    """Return key and value of an entry of a map."""
    key, value = "", memoryview(b"")
    for each in fields(data, budget):
        if each.number == 1 and each.data is not None:
            key = _text(each.data)
        elif each.number == 2 and each.data is not None:
            value = each.data
    return key, value


def _messages(data: memoryview, number: int, budget: ParseBudget) -> Iterator[memoryview]:
    return (each.data for each in fields(data, budget) if each.number == number and each.data is not None)


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")
