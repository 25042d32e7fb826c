"""A user without an entry in the password file, as in a container: a command asks for the name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actuators.belt_file import BeltFile
from infra.cli.root import app
from infra.cli.shared.options import user_name
from schemas.errors import SettingsError


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)


@pytest.mark.usefixtures("nobody")
def test_a_user_without_a_name_is_asked_for_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--who: this machine does not say who you are"):
        user_name("--who")
    (tmp_path / "gate.lock").touch()
    for command in ("suspend", "reset"):
        arguments = ["gate", command, "--state-dir", str(tmp_path), "--note", "jam"]
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, SettingsError), (command, result.exception)
        assert result.exception.args[0].startswith("--who: ")
        named = CliRunner().invoke(app, [*arguments, "--who", "ada"])
        assert "not in FAULT" in str(named.exception) if command == "reset" else named.exit_code == 0
    assert BeltFile(tmp_path).load().who == "ada"  # type: ignore[union-attr]
