"""Loader of plug-ins by name: a built-in class, one that an installed package offers, or an import path.

An installed package offers classes under an entry point group, here of cameras:

.. code-block:: toml

    [project.entry-points."inspection.cameras"]
    acme = "acme_camera:AcmeCamera"

The options of a plug-in are the keyword parameters of its class. An option ``k=v`` is converted to the type of the
parameter's annotation or default (``str``, ``int``, ``float``, ``bool``).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from schemas.addresses import masked_address, masked_text
from schemas.errors import InspectionError, PluginError, error_line

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """Class that ships.

    Parameters
    ----------
    path
        Import path, ``package.module:Class``.
    parameter
        Parameter that takes the text behind the colon of a spec; None: the class takes no such text.
    takes_spec
        Pass the whole spec to this parameter, including the name.
    """

    path: str
    parameter: str | None = None
    takes_spec: bool = False


@dataclass(frozen=True, slots=True)
class PluginKind:
    """Kind of plug-ins.

    Parameters
    ----------
    word
        Word for errors, such as ``camera``.
    group
        Entry point group.
    built_in
        Classes that ship, by name.
    methods
        Methods that an object of this kind must have.
    """

    word: str
    group: str
    built_in: Mapping[str, BuiltIn]
    methods: tuple[str, ...]

    def names(self) -> list[str]:
        """Return the names of the built-in classes and of the installed plug-ins."""
        return sorted({*self.built_in, *(point.name for point in entry_points(group=self.group))})


def load_plugin(kind: PluginKind, spec: str, options: Mapping[str, Any] | None = None) -> Any:
    """Build the object that a spec names.

    Parameters
    ----------
    kind
        Kind of plug-ins.
    spec
        ``name`` or ``name:argument`` of a built-in class or of an installed plug-in, or ``package.module:Class``.
    options
        Keyword parameters of the class; texts are converted.

    Raises
    ------
    PluginError
        If the class cannot be found, imported or built, or lacks a method; the message has one line.

    Examples
    --------
    >>> kind = PluginKind("path", "example.paths", {"pure": BuiltIn("pathlib:PurePath")}, ("joinpath",))
    >>> type(load_plugin(kind, "pure")).__name__
    'PurePosixPath'
    >>> load_plugin(kind, "pur")
    Traceback (most recent call last):
    ...
    schemas.errors.PluginError: no path 'pur'; did you mean 'pure'?
    """
    factory, arguments = _find(kind, spec)
    name = _shown(kind, spec)
    try:
        built = factory(**_convert(kind, factory, {**arguments, **(options or {})}))
    except InspectionError:
        raise
    except Exception as error:  # a plug-in may raise anything
        typed = [f"{key}={value}" for key, value in (options or {}).items()]
        why = masked_text(f"{type(error).__name__}: {error_line(error)}", spec, spec.partition(":")[2], *typed)
        raise PluginError(f"{kind.word} {name!r}: {why}") from error
    lacks = [method for method in kind.methods if not hasattr(built, method)]
    if lacks:
        raise PluginError(f"{kind.word} {name!r} has no {', '.join(lacks)}")
    return built


def _find(kind: PluginKind, spec: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    name, _, rest = spec.partition(":")
    if name in kind.built_in:
        built_in = kind.built_in[name]
        if built_in.parameter is None:
            if rest:
                raise PluginError(f"{kind.word} {name!r} takes options (k=v), and nothing after a colon")
            return _import(kind, built_in.path), {}
        if not rest:
            raise PluginError(f"{kind.word} {name!r} needs what to read after a colon, as in {name}:...")
        return _import(kind, built_in.path), {built_in.parameter: spec if built_in.takes_spec else rest}
    for point in entry_points(group=kind.group):
        if point.name == name:
            factory = _import(kind, point.value)
            return factory, {_first_parameter(kind, factory, name): rest} if rest else {}
    near = difflib.get_close_matches(name, kind.names(), 1)
    if rest and all(part.isidentifier() for part in [*name.split("."), *rest.split(".")]) and ("." in name or not near):
        return _import(kind, spec), {}
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kind.names())} and package.module:Class"
    raise PluginError(f"no {kind.word} {name!r}; {hint}")


def _import(kind: PluginKind, path: str) -> Callable[..., Any]:
    module_name, _, attribute = path.partition(":")
    # A console script does not look in the current directory, where a person's first plug-in lies.
    here = str(Path.cwd())
    added = here not in sys.path and not sys.flags.safe_path
    if added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:  # a plug-in may raise anything
        why = f"{type(error).__name__}: {error_line(error)}"
        raise PluginError(f"{kind.word} {path!r} cannot be imported: {why}") from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not callable(found):
        raise PluginError(f"{kind.word} {path!r} is not a class")
    return cast(Callable[..., Any], found)


def _convert(kind: PluginKind, factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    parameters: Mapping[str, inspect.Parameter] = {}
    takes_any = True
    try:
        parameters = inspect.signature(factory).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    except ValueError:  # a class written in C may have no signature
        pass
    converted = {}
    for key, value in options.items():
        if key not in parameters and not takes_any:
            takes = ", ".join(parameters) or "none"
            near = difflib.get_close_matches(key, parameters, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PluginError(f"option {key!r}: this {kind.word} takes {takes}{hint}")
        converted[key] = _value(key, value, parameters.get(key)) if isinstance(value, str) else value
    return converted


def _value(key: str, text: str, parameter: inspect.Parameter | None) -> Any:
    if parameter is None:
        return text
    annotation = parameter.annotation
    # With `from __future__ import annotations` annotations are text; "int | None" counts as int.
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    kind = name.split("|")[0].strip()
    if annotation is inspect.Parameter.empty and parameter.default not in (inspect.Parameter.empty, None):
        kind = type(parameter.default).__name__
    try:
        if kind == "bool":
            return _BOOLEANS[text.lower()]
        return {"int": int, "float": float}.get(kind, str)(text)
    except (ValueError, KeyError) as error:
        raise PluginError(f"option {key}={text!r} is not of type {kind}") from error


def _first_parameter(kind: PluginKind, factory: Callable[..., Any], name: str) -> str:
    parameters = list(inspect.signature(factory).parameters)
    if not parameters:
        raise PluginError(f"{kind.word} {name!r} takes nothing after a colon")
    return parameters[0]


def _shown(kind: PluginKind, spec: str) -> str:
    name = spec.partition(":")[0]
    return name if name in kind.names() else masked_address(spec)
