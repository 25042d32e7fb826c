"""Kinds of models that are imported: a file or folder is recognised by its content, before any framework reads it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import ImportRefused
from models.importers.saved_model import choose_signature, newest_version, read_saved_model
from models.importers.torch_file import torch_kind

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MAX_CONFIG_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Recognised model.

    Parameters
    ----------
    path
        File or folder of the model itself.
    kind
        Word for the converter: ``saved_model``, ``keras``, ``torch_program``, ``torchscript``, ``torch_module``,
        ``anomalib``, ``sklearn``, ``classifier_onnx``.
    framework
        Environment that it needs, as in ``import-<framework>.lock``; empty if it needs none.
    description
        Name of the kind for people.
    signature
        Signature of a SavedModel.
    entry
        Function that builds the network of a PyTorch file of weights, ``package:function``.
    embedding
        Embedding whose features a classifier takes, see `models.training.embedding`.
    known
        Facts about every model of this kind, by the name of their option; an answer goes before.
    """

    path: Path
    kind: str
    framework: str
    description: str
    signature: str | None = None
    entry: str | None = None
    embedding: str | None = None
    known: Mapping[str, str] = field(default_factory=dict)


#: Anomalib takes colours from 0 to 1, normalises them inside, and scales its scores so that 0.5 is its threshold.
_OF_ANOMALIB = {"colour": "rgb", "scale": "1/255", "threshold": "0.5"}


def detect(
    path: Path,
    *,
    signature: str | None = None,
    entry: str | None = None,
    embedding: str | None = None,
    trust: bool = False,
) -> ModelSource:
    """Recognise a model by its content.

    Parameters
    ----------
    signature
        Signature of a SavedModel that the user states.
    entry
        Function that builds the network of a PyTorch file of weights.
    embedding
        Embedding whose features a classifier of scikit-learn takes.
    trust
        True if the user states that the file is theirs: it may then run code.

    Raises
    ------
    ImportRefused
        If it is not a model, or not one that can be imported; the message states the remedy.
    """
    if entry is not None and _ENTRY.fullmatch(entry) is None:
        raise ImportRefused(f"--entry {entry}: write package:function, a function that returns the module")
    try:
        if path.is_dir():
            folder = newest_version(path)
            model = read_saved_model(folder)
            chosen = choose_signature(folder, model, signature)
            return ModelSource(folder, "saved_model", "tensorflow", "TensorFlow SavedModel", chosen)
        if path.exists() and not path.is_file():
            raise ImportRefused(f"{path}: not a regular file; save the model to a file")  # a pipe would be waited for
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ImportRefused(f"{path}: {error.strerror or error}") from error
    if embedding is not None:
        return _classifier(path, embedding, trust)
    if head.startswith(_HDF5):
        if path.name.endswith(".weights.h5"):
            raise ImportRefused(
                f"{path}: it holds weights alone, without a network: save it with model.save('m.keras')"
            )
        return ModelSource(path, "keras", "tensorflow", "Keras model (HDF5)")
    if head.startswith(_ZIP):
        return _zip(path, entry, trust)
    if head.startswith(_PICKLE):
        raise ImportRefused(
            f"{path}: a pickle, whose loading runs code: of PyTorch, save model.state_dict() again with a current "
            "version and use --entry package:function; a classifier of scikit-learn needs --embedding lite0"
        )
    raise ImportRefused(
        f"{path}: not a model that is known: a SavedModel folder, a file .keras or .h5 of Keras, or a "
        ".pt2, TorchScript or file of weights of PyTorch; "
        "an ONNX file goes by `inspection model init`"
    )


def _classifier(path: Path, embedding: str, trust: bool) -> ModelSource:
    """Recognise a classifier on an embedding by the end of its name: files of joblib have many beginnings."""
    if path.suffix.lower() == ".onnx":
        return ModelSource(path, "classifier_onnx", "", "classifier of scikit-learn (ONNX)", embedding=embedding)
    if path.suffix.lower() not in (".joblib", ".pkl", ".pickle"):
        raise ImportRefused(f"{path}: with --embedding, a file .onnx of skl2onnx, or .joblib or .pkl of scikit-learn")
    if not trust:
        raise ImportRefused(
            f"{path}: a pickle, whose loading runs code: use --trust-pickle if the file is yours, or convert it with "
            "skl2onnx"
        )
    return ModelSource(path, "sklearn", "sklearn", "classifier of scikit-learn", embedding=embedding)


def _zip(path: Path, entry: str | None, trust: bool) -> ModelSource:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if {"config.json", "metadata.json"} <= names:
                if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                    raise ImportRefused(f"{path}: its config.json is too large")
                return _keras(path, archive.read("config.json"), trust)
            kind = torch_kind(archive)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ImportRefused(f"{path}: a damaged archive: {error}; copy the file again") from error
    if kind is None:
        raise ImportRefused(
            f"{path}: an archive that is no model: it has no config.json of Keras and no data of PyTorch"
        )
    if kind == "anomalib":
        if not trust:
            raise ImportRefused(
                f"{path}: a pickled model of Anomalib, whose loading runs code: use --trust-pickle if the file is "
                "yours, or export it to ONNX, to_onnx(..., dynamic_axes={}, external_data=False), for `inspection "
                "model init`"
            )
        return ModelSource(path, "anomalib", "anomalib", "Anomalib model", known=_OF_ANOMALIB)
    if kind == "anomalib_checkpoint":
        raise ImportRefused(
            f"{path}: a checkpoint of Anomalib: export it with Engine().export(model=..., "
            "export_type=ExportType.TORCH, ckpt_path=...), and import its model.pt"
        )
    if kind == "ultralytics":
        raise ImportRefused(
            f"{path}: a pickled model of Ultralytics, whose loading runs code: with its own tool, `yolo export "
            f"model={path.name} format=onnx`, then `inspection model init {path.stem}.onnx --out DIR`"
        )
    if kind == "pickle":
        raise ImportRefused(
            f"{path}: a whole pickled module, whose loading runs code: save model.state_dict() and use --entry "
            "package:function, or save the program with torch.export.save"
        )
    if kind == "weights":
        if entry is None:
            raise ImportRefused(
                f"{path}: weights alone (a state dict), without a network: --entry package:function names the function "
                "that builds it"
            )
        return ModelSource(path, "torch_module", "torch", f"PyTorch module of {entry}", entry=entry)
    if entry is not None:
        raise ImportRefused(f"--entry {entry}: {path} holds its network: leave --entry out")
    description = "PyTorch program" if kind == "torch_program" else "TorchScript module"
    return ModelSource(path, kind, "torch", description)


def _keras(path: Path, config: bytes, trust: bool) -> ModelSource:
    try:
        classes = set(_classes(json.loads(config)))
    except (ValueError, RecursionError) as error:
        raise ImportRefused(f"{path}: its config.json is damaged: {error}; copy the file again") from error
    if not trust and classes & {"Lambda", "__lambda__"}:
        raise ImportRefused(
            f"{path}: it has a Lambda layer, which runs code of the file: use --trust-pickle if the file is yours"
        )
    return ModelSource(path, "keras", "tensorflow", "Keras model")


def _classes(value: object) -> list[str]:
    """Return the names of the classes in a configuration, at all levels."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            name = each.get("class_name")
            found += [name] if isinstance(name, str) else []
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found
