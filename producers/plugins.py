"""Search for the camera that a person names: a built-in camera, an installed plug-in, or an import path.

An installed package offers cameras under the entry point group ``inspection.cameras``:

.. code-block:: toml

    [project.entry-points."inspection.cameras"]
    acme = "acme_camera:AcmeCamera"

The options of a camera are the keyword parameters of its class. An option ``k=v`` is converted to the type of the
parameter's annotation or default (``str``, ``int``, ``float``, ``bool``).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from producers.camera import Camera
from schemas.addresses import masked_address, masked_text
from schemas.errors import InspectionError, PluginError

ENTRY_POINT_GROUP = "inspection.cameras"

#: Import path of the class, and the parameter that takes the text behind the colon, by scheme of the spec.
BUILT_IN: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "folder": ("producers.cameras.folder:FolderCamera", "directory"),
        "video": ("producers.cameras.opencv:OpenCvCamera", "source"),
        "usb": ("producers.cameras.opencv:OpenCvCamera", "source"),
        "rtsp": ("producers.cameras.opencv:OpenCvCamera", "source"),
        "rtsps": ("producers.cameras.opencv:OpenCvCamera", "source"),
        "elpv": ("producers.cameras.dataset:ElpvCamera", None),
        "synthetic": ("producers.cameras.synthetic:SyntheticCamera", None),
    }
)
#: Schemes whose whole spec is passed to OpenCV, including the scheme.
_WHOLE_SPEC = frozenset({"usb", "rtsp", "rtsps"})
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def load_camera(spec: str, options: Mapping[str, str] | None = None) -> Camera:
    """Build the camera that a spec names; its device is opened later, by the runner.

    Parameters
    ----------
    spec
        ``folder:DIR``, ``video:PATH``, ``usb:/dev/v4l/by-id/NAME``, ``usb:0``, ``rtsp://...``, ``elpv``,
        ``synthetic``, the name of an installed plug-in (``name`` or ``name:argument``), or ``package.module:Class``.
    options
        Keyword parameters of the camera, as text.

    Raises
    ------
    PluginError
        If the camera cannot be found, imported or built; the message has one line.

    Examples
    --------
    >>> camera = load_camera("synthetic", {"seed": "7", "count": "3"})
    >>> len(list(camera))
    3
    >>> load_camera("foldr:images")
    Traceback (most recent call last):
    ...
    schemas.errors.PluginError: no camera 'foldr'; did you mean 'folder'?
    """
    factory, arguments = _find(spec)
    try:
        keywords = _convert(factory, {**arguments, **(options or {})})
        camera = factory(**keywords)
    except InspectionError:
        raise
    except Exception as error:
        why = masked_text(f"{type(error).__name__}: {_one_line(error)}", spec, spec.partition(":")[2])
        raise PluginError(f"camera {_name(spec)!r}: {why}") from error
    if not hasattr(camera, "__iter__"):
        raise PluginError(f"camera {_name(spec)!r} has no __iter__ that yields captures")
    return cast(Camera, camera)


def camera_names() -> list[str]:
    """Return the names with which a spec can start: built-in cameras and installed plug-ins."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def _find(spec: str) -> tuple[Callable[..., Any], dict[str, str]]:
    scheme, _, rest = spec.partition(":")
    if scheme in BUILT_IN:
        path, parameter = BUILT_IN[scheme]
        if parameter is None and rest:
            raise PluginError(f"camera {scheme!r} takes options (k=v), not {rest!r} after a colon")
        if parameter is not None and not rest:
            raise PluginError(f"camera {scheme!r} needs what to read after a colon, as in {scheme}:...")
        argument = spec if scheme in _WHOLE_SPEC else rest
        return _import(path), {} if parameter is None else {parameter: argument}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == scheme:
            factory = _import(point.value)
            return factory, {_first_parameter(factory, scheme): rest} if rest else {}
    if rest and all(part.isidentifier() for part in scheme.split(".")) and rest.replace(".", "").isidentifier():
        near = difflib.get_close_matches(scheme, camera_names(), 1)
        if "." in scheme or not near:
            return _import(spec), {}
    raise PluginError(f"no camera {scheme!r}; {_hint(scheme)}")


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, camera_names(), 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(camera_names())} and package.module:Class"


def _import(path: str) -> Callable[..., Any]:
    module_name, _, attribute = path.partition(":")
    # A console script does not look in the current directory, where a person's first camera lies.
    here = str(Path.cwd())
    added = here not in sys.path and not sys.flags.safe_path
    if added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:
        raise PluginError(f"camera {path!r} cannot be imported: {type(error).__name__}: {_one_line(error)}") from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not callable(found):
        raise PluginError(f"camera {path!r} is not a class")
    return cast(Callable[..., Any], found)


def _convert(factory: Callable[..., Any], options: Mapping[str, str]) -> dict[str, Any]:
    parameters = inspect.signature(factory).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    converted = {}
    for key, text in options.items():
        if key not in parameters and not takes_any:
            raise PluginError(f"option {key!r}: this camera takes {', '.join(parameters) or 'none'}")
        converted[key] = _value(key, text, parameters.get(key))
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


def _first_parameter(factory: Callable[..., Any], name: str) -> str:
    parameters = list(inspect.signature(factory).parameters)
    if not parameters:
        raise PluginError(f"camera {name!r} takes nothing after a colon")
    return parameters[0]


def _name(spec: str) -> str:
    return spec.partition(":")[0] if spec.partition(":")[0] in camera_names() else masked_address(spec)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
