"""The quick way to multiply bytes is taken only where it is exact."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.processor import multiplies_bytes_exactly
from models.runtime import make_session, ort

AVX512 = "avx512f avx512bw avx512dq avx512vl"


@pytest.mark.parametrize(
    ("cpuinfo", "is_exact"),
    [
        (f"flags\t\t: fpu avx2 {AVX512} avx512_vnni\n", True),
        (f"flags\t\t: fpu avx2 {AVX512} avx_vnni\n", False),
        ("flags\t\t: fpu avx2 avx_vnni\n", True),
        ("flags\t\t: fpu avx2\n", False),
        ("flags\t\t: avx_vnni\nflags\t\t: avx2\n", False),
        ("Features\t: asimd asimddp\n", False),
        ("", False),
    ],
)
def test_only_vnni_is_exact(cpuinfo: str, is_exact: bool) -> None:
    assert multiplies_bytes_exactly(cpuinfo) is is_exact


@pytest.mark.parametrize("name", ["elpv_cells", pytest.param("elpv_stacked", marks=pytest.mark.long)])
def test_the_way_of_this_processor_gives_the_exact_results(repository: Path, name: str) -> None:
    [file] = (repository / "models" / "zoo" / name).glob("*.onnx")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    exact = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    ours = make_session(file.read_bytes(), 1)
    rng = np.random.default_rng(7)
    noise = [rng.integers(0, 256, (1, 1, 224, 224)).astype(np.uint8) for _ in range(6)]
    # Extremes saturate first, and smooth images are what cameras show.
    smooth = [cv2.GaussianBlur(image[0, 0], (0, 0), 9)[None, None] for image in noise]
    for image in (*noise, *smooth, np.full_like(noise[0], 255), np.zeros_like(noise[0])):
        for one, other in zip(ours.run(None, {"image": image}), exact.run(None, {"image": image}), strict=True):
            assert np.array_equal(one, other)
