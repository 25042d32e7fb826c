"""Loader of drivers by name: ``simulated``, an installed plug-in, or ``package.module:Class``.

An installed package offers drivers under the entry point group ``inspection.actuators``:

.. code-block:: toml

    [project.entry-points."inspection.actuators"]
    acme = "acme_gate:AcmeGate"
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from actuators.actuator import Actuator
from schemas.errors import InspectionError, PluginError

ENTRY_POINT_GROUP = "inspection.actuators"

BUILT_IN: Mapping[str, str] = MappingProxyType({"simulated": "actuators.simulated:SimulatedGate"})


def load_actuator(name: str, options: Mapping[str, Any] | None = None) -> Actuator:
    """Build the driver with that name; the gate opens its hardware later.

    Parameters
    ----------
    name
        ``simulated``, the name of an installed plug-in, or ``package.module:Class``.
    options
        Keyword arguments of the driver's class.

    Raises
    ------
    PluginError
        If the driver cannot be found, imported or built, or lacks one of `open`, `act`, `close`; the text is one line.

    Examples
    --------
    >>> type(load_actuator("simulated")).__name__
    'SimulatedGate'
    >>> load_actuator("simulatd")
    Traceback (most recent call last):
    ...
    schemas.errors.PluginError: no actuator 'simulatd'; there are simulated and package.module:Class
    """
    factory = _import(name, _path(name))
    try:
        built = factory(**(options or {}))
    except InspectionError:
        raise
    except Exception as error:  # a plug-in may raise anything
        raise PluginError(f"actuator {name!r}: {type(error).__name__}: {_one_line(error)}") from error
    if not isinstance(built, Actuator):
        lacks = [method for method in ("open", "act", "close") if not hasattr(built, method)]
        raise PluginError(f"actuator {name!r} has no {', '.join(lacks)}")
    return built


def actuator_names() -> list[str]:
    """Return the names of the built-in drivers and of the installed plug-ins."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def _path(name: str) -> str:
    if name in BUILT_IN:
        return BUILT_IN[name]
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return point.value
    module, colon, attribute = name.partition(":")
    if colon and all(part.isidentifier() for part in f"{module}.{attribute}".split(".")):
        return name
    raise PluginError(f"no actuator {name!r}; there are {', '.join(actuator_names())} and package.module:Class")


def _import(name: str, path: str) -> Any:
    module, _, attribute = path.partition(":")
    # A console script does not search the current directory, but a person's first driver is often there.
    here = str(Path.cwd())
    added = here not in sys.path and not sys.flags.safe_path
    if added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # a plug-in may raise anything
        raise PluginError(
            f"actuator {name!r} cannot be imported: {type(error).__name__}: {_one_line(error)}"
        ) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not callable(found):
        raise PluginError(f"actuator {name!r} is not a class")
    return found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
