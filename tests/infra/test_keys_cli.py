"""`inspection keys show`: text and JSON end with the same status."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import SettingsError


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_folder_without_keys_is_an_error_in_either_form(tmp_path: Path, form: list[str]) -> None:
    result = CliRunner().invoke(app, ["keys", "show", str(tmp_path), *form])
    assert isinstance(result.exception, SettingsError)
    assert (str(result.exception), result.stdout) == (f"{tmp_path}: no keys in it", "")
