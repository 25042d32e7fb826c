"""Kinds of models that are imported: a file or folder is recognised by its content, before any framework reads it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.errors import ImportRefused
from models.importers.saved_model import choose_signature, newest_version, read_saved_model

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_MAX_CONFIG_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Recognised model.

    Parameters
    ----------
    path
        File or folder of the model itself.
    kind
        Word for the converter: ``saved_model``, ``keras``.
    framework
        Environment that it needs, as in ``import-<framework>.lock``.
    description
        Name of the kind for people.
    signature
        Signature of a SavedModel.
    """

    path: Path
    kind: str
    framework: str
    description: str
    signature: str | None = None


def detect(path: Path, *, signature: str | None = None, trust: bool = False) -> ModelSource:
    """Recognise a model by its content.

    Parameters
    ----------
    signature
        Signature of a SavedModel that the user states.
    trust
        True if the user states that the file is theirs: it may then run code.

    Raises
    ------
    ImportRefused
        If it is not a model, or not one that can be imported; the message states the remedy.
    """
    try:
        if path.is_dir():
            folder = newest_version(path)
            model = read_saved_model(folder)
            chosen = choose_signature(folder, model, signature)
            return ModelSource(folder, "saved_model", "tensorflow", "TensorFlow SavedModel", chosen)
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ImportRefused(f"{path}: {error.strerror or error}") from error
    if head.startswith(_HDF5):
        if path.name.endswith(".weights.h5"):
            raise ImportRefused(
                f"{path}: it holds weights alone, without a network: save it with model.save('m.keras')"
            )
        return ModelSource(path, "keras", "tensorflow", "Keras model (HDF5)")
    if head.startswith(_ZIP):
        return _zip(path, trust)
    raise ImportRefused(
        f"{path}: not a model that is known: a SavedModel folder, or a file .keras or .h5 of Keras; "
        "an ONNX file needs a manifest only (docs/models.md)"
    )


def _zip(path: Path, trust: bool) -> ModelSource:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if {"config.json", "metadata.json"} <= names:
                if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                    raise ImportRefused(f"{path}: its config.json is too large")
                return _keras(path, archive.read("config.json"), trust)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ImportRefused(f"{path}: a damaged archive: {error}; copy the file again") from error
    raise ImportRefused(f"{path}: an archive that is no model: it has neither config.json of Keras nor data of PyTorch")


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
