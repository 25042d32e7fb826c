"""Selections in files: the same one comes back, and anything else is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from replay.past.selection import Selection, TimeBasis
from schemas.errors import SettingsError
from tests.support.gate_records import make_frame


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("[]", "a JSON object"),
        ("{}", "no selection: 'selection'"),
        ('{"selection": 2}', "version 2"),
        ('{"selection": 1, "colour": "red"}', "knows no colour"),
        ('{"selection": 1, "cameras": "press/top"}', "cameras: a list of texts"),
        ('{"selection": 1, "from_us": "now"}', "from_us: a whole number"),
        ('{"selection": 1, "offsets": {"x": [1, 2]}}', "no selection"),
        ('{"selection": 1, "offsets": {"0": [2, 1]}}', "offsets 2 to 1 of partition 0"),
        ('{"selection": 1, "judged": ["MAYBE"]}', "verdict 'MAYBE': one of OK"),
        ('{"selection": 1, "clock": "wall"}', "no selection"),
        ('{"selection": 1, "last": 0}', "at least 1"),
        ('{"selection": 1, "last": 99999999999999999999}', "at most 1000000000"),
        ('{"selection": 1, "last": true}', "last: a whole number"),
    ],
)
def test_a_file_that_is_no_selection(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "selection.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="selection ") as caught:
        Selection.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_selection_is_kept_in_a_file(tmp_path: Path) -> None:
    chosen = Selection(
        from_us=1, to_us=5, time_basis=TimeBasis.CAPTURED, offsets={4: (1, 2)}, last=3, decided_as=("OK",), episode="e"
    )
    chosen.save(tmp_path / "selection.json")
    assert Selection.load(tmp_path / "selection.json") == chosen
    assert json.loads((tmp_path / "selection.json").read_text())["clock"] == "captured"
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(SettingsError, match="selection "):
            Selection.load(path)
    with pytest.raises(SettingsError, match="selection "):
        chosen.save(tmp_path / "no" / "such.json")


def test_a_full_disk_leaves_an_earlier_selection(tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    Selection(lots=("before",)).save(path)
    program = (
        "import resource, sys; from pathlib import Path; from replay.past.selection import Selection\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "Selection(lots=('x' * 1000,)).save(Path(sys.argv[1]))"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", program, path], capture_output=True, text=True, check=False)
    assert f"SettingsError: selection {path}: File too large" in ended.stderr
    assert Selection.load(path) == Selection(lots=("before",))
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_id_of_a_barcode_reader_selects_its_frames() -> None:
    selection = Selection(parts=("TR-2 \r", "TR-3"))
    assert selection == Selection(parts=("TR-2", "TR-3"))
    assert [selection.has_frame(make_frame(part)) for part in ("TR-2", "\x02TR-3\n", "TR-4")] == [True, True, False]
    with pytest.raises(SettingsError, match="the id of a part shows something"):
        Selection(parts=("TR-2", " \n"))
