"""Inspection of an image: model packages, preprocessing, inference and the decision rule. No Kafka, no asyncio."""

from models.decisions import FramePosition, build_decision, failed_inspection
from models.errors import ImageError, ModelPackageError
from models.inspect_images import inspect_image
from models.inspection import Inspection
from models.package import Model, default_model_path, load_model

__all__ = [
    "FramePosition",
    "ImageError",
    "Inspection",
    "Model",
    "ModelPackageError",
    "build_decision",
    "default_model_path",
    "failed_inspection",
    "inspect_image",
    "load_model",
]
