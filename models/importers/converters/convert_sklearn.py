"""Converter of scikit-learn: a fitted classifier on the features of an embedding, in a file of joblib or pickle."""

from __future__ import annotations

from typing import Any

_OPSETS = {"": 17, "ai.onnx.ml": 3}


class _Refusal(Exception):
    """Model that cannot be converted; the text is for the user."""


def convert(job: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Write the ONNX file of the job; return its facts, and the function that runs the classifier."""
    import joblib
    import skl2onnx
    import sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    model = joblib.load(job["source"])
    if not hasattr(model, "predict_proba"):
        raise _Refusal(
            f"{type(model).__name__} has no predict_proba: fit a classifier that has one, or wrap it in "
            "CalibratedClassifierCV"
        )
    count = getattr(model, "n_features_in_", job["features"])
    if count != job["features"]:
        raise _Refusal(
            f"it takes {count} features, the embedding has {job['features']}: fit it to those of "
            "models.training.embedding.embed"
        )
    try:
        converted = skl2onnx.to_onnx(
            model, initial_types=[("features", FloatTensorType([None, count]))],
            options={id(model): {"zipmap": False}}, target_opset=_OPSETS,
        )  # fmt: skip
    except (MissingConverter, MissingShapeCalculator, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _Refusal(f"skl2onnx does not convert {type(model).__name__}: {reason}; use another classifier") from error
    with open(job["onnx"], "wb") as file:
        file.write(converted.SerializeToString())

    def run(batch: Any) -> dict[str, Any]:
        return {"probabilities": model.predict_proba(batch)}

    facts = {
        "input": {"name": "features", "dtype": "float32", "shape": [None, count]},
        "outputs": {"probabilities": [1, len(model.classes_)]},
        "versions": {each.__name__: each.__version__ for each in (sklearn, skl2onnx)},
    }
    return facts, run, None
