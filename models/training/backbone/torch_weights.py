"""Weights of a PyTorch file, without PyTorch and without running code.

A ``.pth`` file is a pickle, and a pickle can run any code when it is loaded. The reader here knows three names only:
the ordered dictionary, the function that rebuilds a tensor, and the storage of float32 or int64 numbers. It reads the
layout that PyTorch wrote before version 1.6: five pickles, and then the numbers of each storage.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor:
    """Tensor that waits for the numbers of its storage, which come later in the file."""

    def __init__(
        self, storage: tuple[str, np.dtype[Any]], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> None:
        (self.key, self.dtype), self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Return the tensor as an array of its own."""
        indices = np.full(self.shape, self.offset)
        for index, stride in zip(np.indices(self.shape, sparse=True), self.strides, strict=True):
            indices += index * stride
        return np.asarray(numbers[indices])


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"the file names {module}.{name}: it is not a plain state dictionary")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any]]:
        _, dtype, key, *_ = pid
        return key, dtype


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a state dictionary, by name.

    Raises
    ------
    pickle.UnpicklingError
        If the file holds anything but a state dictionary of float32 and int64 tensors.
    """
    stream = io.BytesIO(path.read_bytes())
    if _Unpickler(stream).load() != _MAGIC:
        raise pickle.UnpicklingError(f"{path} is not a file of PyTorch before version 1.6")
    for _ in range(2):  # protocol version, and the sizes of C types
        _Unpickler(stream).load()
    tensors: dict[str, _Tensor] = _Unpickler(stream).load()
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    storages = {}
    for key in _Unpickler(stream).load():
        count = int(np.frombuffer(stream.read(8), "<i8")[0])
        storages[key] = np.frombuffer(stream.read(count * dtypes[key].itemsize), dtypes[key])
    return {name: tensor.array(storages[tensor.key]) for name, tensor in tensors.items()}
