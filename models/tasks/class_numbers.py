"""Class numbers that a model returns beside its scores or instead of them, as indices of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.finding import WrongNumbers

#: Distance from a whole number up to which a class number in floating point is whole.
_WHOLE = 1e-3


def label_indices(numbers: NDArray[Any], first_class: int, count: int, role: str) -> NDArray[np.int64]:
    """Return the index of the label of each class number; -1 for the background, which is class 0 of a count from one.

    Parameters
    ----------
    numbers
        Whole numbers, of any shape and numeric type.
    first_class
        Number of the first label.
    count
        Number of labels.
    role
        Role of the output, for the error.

    Raises
    ------
    WrongNumbers
        If a number is not whole, or is that of no label.

    Examples
    --------
    >>> label_indices(np.array([0.0, 1.0, 2.0]), 1, 2, "classes").tolist()
    [-1, 0, 1]
    >>> label_indices(np.array([2]), 0, 2, "classes")
    Traceback (most recent call last):
    models.tasks.finding.WrongNumbers: has the class 2, wanted 0 to 1
    """
    if not numbers.size:
        return np.zeros(numbers.shape, np.int64)
    values = np.asarray(numbers, np.float64)
    whole = np.rint(values)
    if not np.all(np.abs(values - whole) <= _WHOLE):
        odd = values[~(np.abs(values - whole) <= _WHOLE)].flat[0]
        raise WrongNumbers(
            role,
            f"has the class {odd:g}, which is not a whole number",
            "classes are whole numbers: see which output, or which column of a row, has them",
        )
    low, high = int(whole.min()), int(whole.max())
    last = first_class + count - 1
    if low < 0 or high > last:
        raise WrongNumbers(
            role,
            f"has the class {low if low < 0 else high}, wanted {first_class} to {last}",
            "list a label for each class of the training; where class 0 is the background, say `first_class: 1`, or "
            "list the background as the first label",
        )
    return np.asarray(whole, np.int64) - first_class
