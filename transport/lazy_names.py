"""Names of a package that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names are imported on first use.

    Parameters
    ----------
    package
        Name of the package, for the error.
    names
        Names by the module that defines them.

    Examples
    --------
    >>> find = lazy_names("package", {"math": ("pi",)})
    >>> find("pi") > 3
    True
    >>> find("tau")
    Traceback (most recent call last):
    ...
    AttributeError: module 'package' has no attribute 'tau'
    """
    modules = {name: module for module, of_module in names.items() for name in of_module}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return find
