from __future__ import annotations

from pathlib import Path

import pytest

from actuators.watermark import Watermark
from schemas.errors import SettingsError


def test_it_is_whole_after_every_step(tmp_path: Path) -> None:
    mark = Watermark(tmp_path / "deep", "decisions")
    mark.begin({0: 5, 1: 0})
    mark.advance(1, 1)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "decisions.offsets.json").write_bytes((tmp_path / "deep" / "decisions.offsets.json").read_bytes())
    mark.close()
    read = Watermark(copy, "decisions")
    assert dict(read.offsets) == {0: 5, 1: 1}
    read.close()


def test_it_knows_the_topic_that_its_offsets_are_of(tmp_path: Path) -> None:
    mark = Watermark(tmp_path, "decisions")
    mark.begin({0: 5}, "first")
    mark.drop_if_recreated("first")
    mark.close()
    again = Watermark(tmp_path, "decisions")
    assert (again.topic_id, dict(again.offsets)) == ("first", {0: 5})
    again.drop_if_recreated("second")  # re-created: offsets of the first topic do not apply to it
    again.advance(0, 1)
    again.close()
    last = Watermark(tmp_path, "decisions")
    assert (last.topic_id, dict(last.offsets)) == ("second", {0: 1})
    last.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    mark = Watermark(tmp_path, "decisions")
    with pytest.raises(SettingsError, match="in use"):
        Watermark(tmp_path, "decisions")
    mark.close()
    mark.close()
    Watermark(tmp_path, "decisions").close()


@pytest.mark.parametrize(
    "text", ["", "\x1b[2J\udcff", "{", "[]", '{"topic": "other", "next_offsets": {}}', '{"topic": "decisions"}']
)
def test_something_else_counts_as_missing_with_a_line(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "decisions.offsets.json").write_bytes(text.encode(errors="surrogateescape"))
    mark = Watermark(tmp_path, "decisions")
    assert (dict(mark.offsets), mark.topic_id) == ({}, None)
    assert "is not a watermark" in caplog.text
    mark.begin({0: 3}, "id")
    mark.close()
    again = Watermark(tmp_path, "decisions")
    assert dict(again.offsets) == {0: 3}
    again.close()


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot write state"):
        Watermark(tmp_path / "file", "decisions")
