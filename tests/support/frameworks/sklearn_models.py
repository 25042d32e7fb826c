"""Classifiers of scikit-learn for the tests of the import. Run in the framework's environment: FOLDER FEATURES."""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy as np
import skl2onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC


def main(folder: Path, table: Path) -> None:
    """Write all classifiers."""
    with np.load(table, allow_pickle=False) as given:
        features, labels = given["features"], np.where(given["is_bad"], "bad", "good")
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)),
        "forest": RandomForestClassifier(20, random_state=1),
    }
    for name, model in models.items():
        model.fit(features, labels)
        joblib.dump(model, folder / f"{name}.joblib")
        for zipmap in (True, False):
            converted = skl2onnx.to_onnx(
                model, features[:1], options={id(model): {"zipmap": zipmap}}, target_opset={"": 18, "ai.onnx.ml": 3}
            )
            (folder / f"{name}{'.zipmap' if zipmap else ''}.onnx").write_bytes(converted.SerializeToString())
    joblib.dump(LinearSVC().fit(features, labels), folder / "no_probabilities.joblib")
    joblib.dump(LogisticRegression().fit(features[:, :30], labels), folder / "other_features.joblib")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
