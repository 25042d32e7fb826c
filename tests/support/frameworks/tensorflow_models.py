"""Models of TensorFlow and Keras for the tests of the import. Run in the framework's environment: FOLDER IMAGES.

The images are ``good/*.png`` and ``bad/*.png``. The small network is trained on them; the large one has random weights.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def network(size: int) -> Any:
    """Return a small network that scales its pixels itself."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def bright_is_good() -> Any:
    """Return a network with one score, the probability of good: that of bright images."""
    layers = keras.layers
    pooled = layers.GlobalAveragePooling2D()
    dense = layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([keras.Input((64, 64, 1)), layers.Rescaling(1 / 255), pooled, dense])
    dense.set_weights([np.float32([[20]]), np.float32([-10])])
    return model


def main(folder: Path, images: Path) -> None:
    """Write all models."""
    keras.utils.set_random_seed(1)
    paths = sorted(images.glob("*/*.png"))
    pixels = [tf.image.resize(tf.io.decode_png(path.read_bytes(), channels=1), (64, 64)) for path in paths]
    good = np.array([path.parent.name == "good" for path in paths])
    model = network(64)
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    model.fit(np.stack(pixels), 1 - good, epochs=4, verbose=0)
    model.save(folder / "two.keras")
    model.save(folder / "two.h5")
    serve(model, folder)
    bright_is_good().save(folder / "p_good.keras")
    big = keras.applications.EfficientNetV2B0(weights=None, classes=2, input_shape=(96, 96, 3))
    big.save(folder / "efficientnet.keras")
    logits = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    )
    logits.save(folder / "logits.keras")
    fixed = keras.Sequential([keras.Input((8, 8, 1), batch_size=2), keras.layers.Flatten(), keras.layers.Dense(2)])
    fixed.save(folder / "batch_of_two.keras")
    code = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x / 255), keras.layers.Flatten()])
    code.save(folder / "lambda.keras")


def serve(model: Any, folder: Path) -> None:
    """Write SavedModels as TFX Trainer and Pusher do: versions, and a signature of tf.Example beside one of images."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def examples(serialized: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(serialized, {"image": tf.io.FixedLenFeature([], tf.string)})
        decoded = tf.map_fn(
            lambda x: tf.ensure_shape(tf.io.decode_png(x, channels=1), (64, 64, 1)), parsed["image"], tf.uint8
        )
        return {"scores": model(tf.cast(decoded, tf.float32))}

    @tf.function(input_signature=[tf.TensorSpec([None, 64, 64, 1], tf.uint8, name="image")])
    def raw(image: Any) -> dict[str, Any]:
        return {"scores": model(tf.cast(image, tf.float32))}

    model.export(folder / "exported", verbose=False)
    tf.saved_model.save(model, folder / "examples", {"serving_default": examples})
    for version in ("1700000000", "1800000000"):
        both = {"serving_default": examples, "serving_raw": raw}
        tf.saved_model.save(model, folder / "pusher" / version, both)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
