"""Cameras by name: the built-in ones, those of installed packages, and import paths.

An installed package offers cameras under the entry point group ``inspection.cameras``, see `transport.plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from producers.camera import Camera
from transport.plugins import BuiltIn, PluginKind, load_plugin

_OPENCV = "producers.cameras.opencv:OpenCvCamera"
CAMERAS = PluginKind(
    "camera",
    "inspection.cameras",
    MappingProxyType(
        {
            "folder": BuiltIn("producers.cameras.folder:FolderCamera", "directory"),
            "video": BuiltIn(_OPENCV, "source"),
            "usb": BuiltIn(_OPENCV, "source", takes_spec=True),
            "rtsp": BuiltIn(_OPENCV, "source", takes_spec=True),
            "rtsps": BuiltIn(_OPENCV, "source", takes_spec=True),
            "elpv": BuiltIn("producers.cameras.dataset:ElpvCamera"),
            "synthetic": BuiltIn("producers.cameras.synthetic:SyntheticCamera"),
        }
    ),
    methods=("__iter__",),
)


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
    return cast(Camera, load_plugin(CAMERAS, spec, options))
