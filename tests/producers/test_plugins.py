"""Finding cameras: every mistake is one line that helps."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from producers.camera import Camera, Capture
from producers.plugins import CAMERAS, load_camera
from schemas.errors import PluginError
from transport import plugins

USER_CAMERA = """
import numpy as np
from producers import Capture

class MyCamera:
    def __init__(self, level: int = 0):
        self.level = level
    def __iter__(self):
        for _ in range(3):
            yield Capture(image=np.full((8, 8), self.level, np.uint8))

class Broken:
    def __init__(self):
        raise RuntimeError("no driver\\nat all")

not_a_class = 3
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_camera_module.py").write_text(USER_CAMERA, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "my_camera_module"


def test_a_camera_of_ten_lines(user_module: str) -> None:
    captures = list(load_camera(f"{user_module}:MyCamera", {"level": "7"}))
    assert [capture.image.max() for capture in captures if capture.image is not None] == [7, 7, 7]


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("foldr:x", {}, "did you mean 'folder'"),
        ("nothing", {}, "there are elpv, folder"),
        ("", {}, "no camera ''"),
        ("folder:", {}, "needs what to read"),
        ("folder", {}, "needs what to read"),
        ("synthetic:9", {}, "takes options"),
        ("synthetic", {"seed": "x"}, "seed='x' is not of type int"),
        ("synthetic", {"sead": "1"}, "this camera takes seed"),
        ("synthetic", {"defect_rate": "2"}, "defect_rate in"),
        ("elpv", {"split": "exam"}, "one of train, validation, test"),
        ("elpv", {"camera": "3", "cameras": "3"}, "camera 3 of 3"),
        ("folder:x", {"loop": "maybe"}, "not of type bool"),
        ("no.such.module:Camera", {}, "No module named 'no'"),
        ("my_camera_module:Nobody", {}, "has no attribute 'Nobody'"),
        ("my_camera_module:Broken", {}, "RuntimeError: no driver at all"),
        ("my_camera_module:not_a_class", {}, "is not a class"),
        ("pathlib:PurePath", {}, "has no __iter__"),
    ],
)
def test_mistakes(user_module: str, spec: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        load_camera(spec, options)
    assert "\n" not in str(caught.value)


class InstalledCamera:
    def __init__(self, address: str, gain: float = 1.0) -> None:
        self.address, self.gain = address, gain

    def __iter__(self):
        yield Capture(encoded=self.address.encode())


def test_an_installed_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", f"{__name__}:InstalledCamera", CAMERAS.group)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    monkeypatch.setattr(plugins, "_import", lambda kind, path: InstalledCamera)
    camera: Camera = load_camera("acme:10.0.0.7", {"gain": "2.5"})
    assert isinstance(camera, InstalledCamera)
    assert (camera.address, camera.gain) == ("10.0.0.7", 2.5)
    with pytest.raises(PluginError, match="did you mean 'acme'"):
        load_camera("acmee")


class RefusingCamera(InstalledCamera):
    def __init__(self, address: str, password: str = "") -> None:
        raise OSError(f"{password} is not the password of {address}")


def test_an_error_of_a_plug_in_shows_no_value_of_a_secret_option(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", f"{__name__}:RefusingCamera", CAMERAS.group)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    monkeypatch.setattr(plugins, "_import", lambda kind, path: RefusingCamera)
    with pytest.raises(PluginError) as caught:
        load_camera("acme:10.0.0.7", {"password": "SECRET"})
    assert "SECRET" not in str(caught.value)
