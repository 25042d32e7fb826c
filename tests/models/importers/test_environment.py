"""Environments of frameworks: made once from a lock, reused, and never half made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from models.errors import ImportRefused
from models.importers.environment import folder_of, interpreter, is_ready


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


def test_an_environment_is_made_once_for_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "import-torch.lock"
    lock.write_text("# nothing\n")
    python = interpreter("torch", lock)
    made = python.stat().st_ctime_ns
    found = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(folder_of("torch", lock))
    assert interpreter("torch", lock).stat().st_ctime_ns == made
    lock.write_text("# another\n")
    assert not is_ready("torch", lock)


def test_a_failed_installation_ends_in_one_line_and_is_not_used(tmp_path: Path) -> None:
    lock = tmp_path / "import-torch.lock"
    lock.write_text(f"nothing-of-this-name==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ImportRefused) as caught:
        interpreter("torch", lock)
    line = str(caught.value)
    assert line.startswith("the environment for torch cannot be made: ")
    assert "nothing-of-this-name" in line
    assert "--python names an interpreter of yours that has torch, torchvision, onnxscript" in line
    assert "\n" not in line
    assert not is_ready("torch", lock)


def test_a_full_disk_is_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "import-torch.lock"
    lock.write_text("# nothing\n")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**9})())
    with pytest.raises(ImportRefused, match=r"takes 6 GB and 1\.0 GB are free: make room"):
        interpreter("torch", lock)
