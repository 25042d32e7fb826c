"""Inspection of an image: model packages, preprocessing, inference and the decision rule. No Kafka, no asyncio."""

from models.decisions import Source, decide, not_inspected
from models.errors import ImageError, ModelPackageError
from models.inspect_images import inspect_image
from models.inspection import Inspection
from models.package import Model, default_model_path, load_model

__all__ = [
    "ImageError",
    "Inspection",
    "Model",
    "ModelPackageError",
    "Source",
    "decide",
    "default_model_path",
    "inspect_image",
    "load_model",
    "not_inspected",
]
