"""Names that are not UTF-8: published, but options with such bytes are refused. Secrets come from files too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from infra.cli.line.produce import produce
from infra.cli.line.watch import _webhook
from infra.cli.shared.options import secret_lines
from infra.demo.processes import inspection_command
from producers import CameraJob
from producers.runner import run_cameras
from producers.testing import ListCamera
from replay import read_topic
from schemas import Frame, KafkaSettings
from schemas.codec import decode
from schemas.errors import InspectionError, SettingsError
from stream_processors.watch.settings import WatchSettings

app = typer.Typer()
app.command()(produce)


@pytest.mark.broker
def test_a_file_whose_name_is_no_utf8_is_published(line: KafkaSettings, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"gr\xfcn.png")).write_bytes(b"image")
    cameras = tmp_path / "cameras.txt"
    cameras.write_text(f"# the cameras of the press\n\nfolder:{tmp_path}\n", encoding="utf-8")
    where = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix]
    done = CliRunner().invoke(app, ["--camera-file", str(cameras), *where])
    assert "1 captured, 1 published" in done.stdout
    [message] = read_topic(line, line.frames)
    assert decode(message.value, Frame).attributes == {"file": r"gr\xfcn.png"}


@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1", "C.UTF-8"])
@pytest.mark.parametrize("option", [b"--station", b"--lot"])
def test_an_option_that_is_no_utf8_is_one_line(option: bytes, locale: str) -> None:
    command = [*map(os.fsencode, inspection_command("produce", "--camera", "synthetic")), option, b"gr\xfcn"]
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(b"error: ")


def test_the_last_line_of_a_command_hides_what_was_typed_into_the_wrong_option() -> None:
    command = inspection_command("produce", "--camera", "synthetic", "--station", "rtsp://u:SECRET@h/x")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: station 'rtsp://h/***'")
    assert "SECRET" not in done.stderr + done.stdout


def test_no_camera_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cameras").write_text("# none\n", encoding="utf-8")
    for arguments in ([], ["--camera-file", str(tmp_path / "cameras")], ["--camera-file", str(tmp_path / "none")]):
        assert isinstance(CliRunner().invoke(app, arguments).exception, SettingsError)


def test_a_webhook_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    file.write_text("https://hooks.plant/services/SECRET\n", encoding="utf-8")
    assert _webhook(None, file) == "https://hooks.plant/services/SECRET"
    with pytest.raises(SettingsError, match="one of them"):
        _webhook("https://a.plant/x", file)
    file.write_text("https://a.plant/SECRET\nhttps://b.plant/SECRET\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="one line") as caught:
        _webhook(None, file)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(SettingsError, match="No such file"):
        secret_lines(tmp_path / "none", "--webhook-file")
    settings = WatchSettings(webhook="https://hooks.plant/services/SECRET")
    assert "SECRET" not in repr(settings)
    assert "https://hooks.plant" in repr(settings)


def test_options_and_texts_behind_a_colon_stay_hidden() -> None:
    camera = ListCamera([], error=OSError("401 for the user admin, password SECRET"))
    job = CameraJob("s/c", camera, None, options=("user=admin", "password=SECRET"))  # type: ignore[arg-type]
    [report] = run_cameras([job])
    assert "SECRET" not in f"{report.error}{job}"
    for arguments in (["synthetic:SECRET"], ["elpv:u:SECRET@h"], ["synthetic", "--option", "=SECRET"]):
        error = CliRunner().invoke(app, ["--camera", *arguments]).exception
        assert isinstance(error, InspectionError)
        assert "SECRET" not in str(error)


@pytest.mark.parametrize("secret", ["SECRET", "pa/ss", "p@ss", "a,b c"])
def test_the_error_of_a_camera_shows_no_secret(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    spec = f"acme:http://admin:{secret}@10.0.0.5/stream"
    text = f"401 for http://admin:{secret}@10.0.0.5/stream"
    camera = ListCamera([], error=OSError(text))
    [report] = run_cameras([CameraJob("s/c", camera, None, address=spec)])  # type: ignore[arg-type]
    assert secret not in f"{report.error}{caplog.text}"
    assert report.error is not None
    assert report.error.startswith("OSError: ") or "not shown" in report.error
