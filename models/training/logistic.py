"""Logistic regression with an L2 penalty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_Floats = NDArray[np.float64]


def fit_logistic(
    x: _Floats, is_defective: NDArray[np.bool_], c: float, *, is_monotonic: bool = False
) -> tuple[_Floats, float]:
    """Return weights and bias: the minimum of ``c`` times the log losses plus half the squared norm of the weights.

    Parameters
    ----------
    x
        ``(n, features)``.
    is_monotonic
        No weight is negative: a larger feature never makes a part less suspicious.

    Examples
    --------
    >>> weights, bias = fit_logistic(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([False, False, True, True]), 10.0)
    >>> bool(weights[0] > 0), round(float(-bias / weights[0]), 2)
    (True, 1.5)
    """
    signs = np.where(is_defective, 1.0, -1.0)

    def loss(values: _Floats) -> tuple[float, _Floats]:
        weights = values[:-1]
        margins = signs * (x @ weights + values[-1])
        # 1 / (1 + exp(margin)), without overflow
        slopes = -signs * np.exp(-np.logaddexp(0, margins))
        gradient = np.append(c * (x.T @ slopes) + weights, c * slopes.sum())
        return c * float(np.logaddexp(0, -margins).sum()) + 0.5 * float(weights @ weights), gradient

    bounds = [(0.0 if is_monotonic else None, None)] * x.shape[1] + [(None, None)]
    found = minimize(
        loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6},
    )  # fmt: skip
    return np.asarray(found.x[:-1]), float(found.x[-1])
