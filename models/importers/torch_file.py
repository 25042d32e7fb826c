"""Kinds of PyTorch files, recognised without PyTorch and without loading a pickle."""

from __future__ import annotations

import pickletools
import zipfile
from typing import Literal

from models.errors import ImportRefused

TorchKind = Literal[
    "torch_program", "torchscript", "weights", "anomalib", "anomalib_checkpoint", "ultralytics", "pickle"
]  # fmt: skip
_MAX_PICKLE_BYTES = 256 * 1024**2
#: Modules whose names the pickle of plain tensors refers to.
_TENSORS = frozenset({"torch", "torch._utils", "collections", "torch.storage", "torch._tensor", "torch.serialization"})


def torch_kind(archive: zipfile.ZipFile) -> TorchKind | None:
    """Return the kind of a file that ``torch.save``, ``torch.jit.save`` or ``torch.export.save`` wrote, or None.

    ``weights`` are tensors alone; ``pickle`` refers to classes, whose loading runs code. So do ``anomalib``, a model
    that Anomalib exported, ``anomalib_checkpoint``, its weights during training, and ``ultralytics``, a model that
    Ultralytics saved.

    Raises
    ------
    ImportRefused
        If the file is damaged.
    """
    names = [each.partition("/")[2] for each in archive.namelist()]
    if any(name.startswith("models/") and name.endswith(".json") for name in names) or "archive_format" in names:
        return "torch_program"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    pickled = next((each for each in archive.namelist() if each.partition("/")[2] == "data.pkl"), None)
    if pickled is None:
        return None
    if archive.getinfo(pickled).file_size > _MAX_PICKLE_BYTES:
        raise ImportRefused(f"{archive.filename}: its data.pkl is too large")
    try:
        modules = _modules(archive.read(pickled))
    except ValueError as error:
        raise ImportRefused(f"{archive.filename}: its data.pkl is damaged: {error}; copy the file again") from error
    if modules <= _TENSORS:
        return "weights"
    if any(name.partition(".")[0] == "anomalib" for name in modules):
        return "anomalib" if any(name.startswith("anomalib.models") for name in modules) else "anomalib_checkpoint"
    return "ultralytics" if any(name.startswith("ultralytics.") for name in modules) else "pickle"


def _modules(pickled: bytes) -> set[str]:
    """Return the modules that a pickle would import; it is read, not loaded."""
    found, texts = set[str](), list[str]()
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "GLOBAL":
            found.add(str(argument).partition(" ")[0])
        elif operation.name == "STACK_GLOBAL":
            # Module and name are texts from before it, mostly the last two.
            found.update(texts[-2:-1] or ["unknown"])
        elif isinstance(argument, str):
            texts.append(argument)
    return found
