"""Converter of TensorFlow's SavedModel and of Keras files, by tf2onnx.

Keras goes by way of a SavedModel: its own export to ONNX makes constants of Normalization inputs of the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_OPSET = 18


class _Refusal(Exception):
    """Model that cannot be converted; the text is for the user."""


def convert(job: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Write the ONNX file of the job; return its facts, and the functions that run the model and read an image."""
    import keras
    import tensorflow as tf
    import tf2onnx
    from tf2onnx import tf_loader
    from tf2onnx.convert import _convert_common

    source, signature = job["source"], job["signature"]
    keras_model = None
    if job["kind"] == "keras":
        keras_model, source = _keras(job)
        signature = "serving_default"
    graph, inputs, outputs, tables, names = tf_loader.from_saved_model(
        source, None, None, tag=["serve"], signatures=[signature], return_initialized_tables=True,
        return_tensors_to_rename=True,
    )  # fmt: skip
    model, _ = _convert_common(
        graph, name=job["name"], opset=_OPSET, input_names=inputs, output_names=outputs, initialized_tables=tables,
        tensors_to_rename=names,
    )  # fmt: skip
    loaded = tf.saved_model.load(source, tags=["serve"])
    function = loaded.signatures[signature]
    given = function.structured_input_signature[1]
    [name] = given

    def run(batch: Any) -> dict[str, Any]:
        if keras_model is None:
            found = function(**{name: tf.constant(batch)})
        else:
            values = tf.nest.flatten(keras_model(tf.constant(batch), training=False))
            found = dict(zip(sorted(function.structured_outputs), values, strict=True))
        return {key: value.numpy() for key, value in found.items()}

    shape = [n.value if hasattr(n, "value") else n for n in given[name].shape]
    full = _full(shape, job)
    zeros = run(np.zeros(full, given[name].dtype.as_numpy_dtype))
    Path(job["onnx"]).write_bytes(model.SerializeToString())
    facts = {
        "input": {"name": name, "dtype": given[name].dtype.name, "shape": shape},
        "outputs": {key: list(value.shape) for key, value in zeros.items()},
        "versions": {each.__name__: each.__version__ for each in (tf, keras, tf2onnx)},
    }
    return facts, run, _read_image


def _keras(job: dict[str, Any]) -> tuple[Any, str]:
    """Load a Keras file and export it as a SavedModel."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(job["source"], compile=False, safe_mode=not job["trust"])
    if len(model.inputs or [None]) != 1:
        raise _Refusal(
            f"the model has {len(model.inputs)} inputs, a package has one, the image: make the others constants"
        )
    shape = list(model.inputs[0].shape) if model.inputs else [None, None, None, None]
    if len(shape) != 4:
        raise _Refusal(f"the model takes shape {shape}, not an image: a package has one input of 4 axes")
    # A model that was loaded and never called cannot be exported.
    full = _full(shape, job)
    model(np.zeros(full, "float32"), training=False)
    folder = str(Path(job["work"]) / "saved_model")
    layout = [None, *full[1:]] if None in shape[1:] else shape
    model.export(
        folder, format="tf_saved_model", verbose=False,
        input_signature=[tf.TensorSpec(layout, model.inputs[0].dtype if model.inputs else "float32", name="image")],
    )  # fmt: skip
    return model, folder


def _full(shape: list[Any], job: dict[str, Any]) -> list[int]:
    """Return the shape of one image; free axes are those that the user states."""
    height, width, channels = shape[1:4]
    asked = job["width"], job["height"]
    wanted = [("--size WIDTHxHEIGHT", width, asked[0]), ("--size WIDTHxHEIGHT", height, asked[1])]
    wanted.append(("--colour grey, rgb or bgr", channels, job["channels"]))
    for option, known, stated in wanted:
        if known is None and not stated:
            raise _Refusal(f"the model takes any shape like {shape}: state it with {option}")
    return [1, height or asked[1], width or asked[0], channels or job["channels"]]


def _read_image(path: str, spec: dict[str, Any]) -> Any:
    """Return the batch of an image, decoded and resized by TensorFlow."""
    import tensorflow as tf

    channels = 1 if spec["colour"] == "grey" else 3
    pixels = tf.io.decode_image(tf.io.read_file(path), channels=channels, expand_animations=False)
    image = tf.image.resize(pixels, [spec["height"], spec["width"]]).numpy()
    if spec["colour"] == "bgr":
        image = image[:, :, ::-1]
    if spec["dtype"] == "uint8":
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)[None]
    image = image * np.float32(spec["scale"])
    return ((image - np.float32(spec["mean"])) / np.float32(spec["std"])).astype(np.float32)[None]
