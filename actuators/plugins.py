"""Drivers by name: the built-in one, those of installed packages, and import paths.

An installed package offers drivers under the entry point group ``inspection.actuators``, see `transport.plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from actuators.actuator import Actuator
from transport.plugins import BuiltIn, PluginKind, load_plugin

ACTUATORS = PluginKind(
    "actuator",
    "inspection.actuators",
    MappingProxyType({"simulated": BuiltIn("actuators.simulated:SimulatedGate")}),
    methods=("open", "act", "close"),
)


def load_actuator(name: str, options: Mapping[str, Any] | None = None) -> Actuator:
    """Build the driver with that name; the gate opens its hardware later.

    Parameters
    ----------
    name
        ``simulated``, the name of an installed plug-in (``name`` or ``name:argument``), or ``package.module:Class``.
    options
        Keyword parameters of the driver's class; texts are converted to the types of its annotations.

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
    schemas.errors.PluginError: no actuator 'simulatd'; did you mean 'simulated'?
    """
    return cast(Actuator, load_plugin(ACTUATORS, name, options))
