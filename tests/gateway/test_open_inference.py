"""Texts of a V2 tensor: one list, or lists nested as the shape says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.foreign.open_inference import read_infer_request
from gateway.problems import Problem

A, B, C, D = "/9j/", "/9k=", "/9o=", "/9s="


def images(shape: list[int], data: Any) -> list[int]:
    """Return the last byte of each image that a request has."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": shape, "data": data}
    return [image[-1] for image in read_infer_request(json.dumps({"inputs": [tensor]}).encode(), None).images]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([4], [A, B, C, D]),
        ([2, 2], [A, B, C, D]),
        ([2, 2], [[A, B], [C, D]]),
        ([4, 1], [[A], [B], [C], [D]]),
        ([1, 2, 2], [[[A, B], [C, D]]]),
    ],
)
def test_images_are_in_row_major_order(shape: list[int], data: Any) -> None:
    assert images(shape, data) == [0xFF, 0xD9, 0xDA, 0xDB]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([4], [[A, B], [C, D]]),
        ([2, 2], [[A], [B, C, D]]),
        ([2, 2], [A, [B, C, D]]),
        ([2, 2], [[A, B, C, D]]),
        ([2, 2], [[[A], [B]], [[C], [D]]]),
        ([1, 2, 2], [[A, B, C, D]]),
        ([4], [A, B, C, 4]),
        ([1], []),
        ([1], [[]]),
        ([1], "/9j/"),
        ([1], None),
        ([3], [A, B, C, D]),
    ],
)
def test_lists_that_do_not_fit_the_shape_are_refused(shape: list[int], data: Any) -> None:
    with pytest.raises(Problem):
        images(shape, data)
