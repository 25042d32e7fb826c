"""Labels are made, read from files and published; what is none is refused with its place."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations import LabelError, labels_from_csv, make_label, publish_labels
from operations.labels.csv_file import LabelFileError
from operations.labels.make import camera_of
from replay import read_topic
from schemas import Codec, KafkaSettings, Label, Verdict
from schemas.errors import BrokerUnavailable, InspectionError, SettingsError, TopicMissing
from schemas.ids import frame_id

FRAME = frame_id("press", "top", 1_700_000_000_000_000, 12)
HEAD = "frame_id,part_id,station,camera_id,truth,defect,labelled_at,labelled_by,sampled_because,note\n"
GOOD_ROW = f"{FRAME},,,,good,,2026-11-24T06:00:00Z,ada,random,\n"


def label(**changes: Any) -> Label:
    options: dict[str, Any] = {"truth": "good", "frame_id": FRAME, "labelled_by": "ada", "labelled_at_us": 5, **changes}
    return make_label(**options)


def test_the_same_statement_is_the_same_label() -> None:
    assert label() == label()
    assert label().label_id == label(note="seen again").label_id
    others = [
        label(truth="bad"), label(labelled_by="bob"), label(labelled_at_us=6), label(frame_id=FRAME[:-1] + "3"),
        label(part_id="P"), label(part_id=FRAME, frame_id=None, station="press", camera_id="top"),
    ]  # fmt: skip
    assert len({one.label_id for one in (label(), *others)}) == 7


@pytest.mark.parametrize("read", ["TR-2 ", "\x02TR-2\r\n", "\u200bTR-2\x00"])
def test_a_part_has_the_id_that_frames_have(read: str) -> None:
    named = {"frame_id": None, "station": "press", "camera_id": "top"}
    assert label(part_id=read, **named) == label(part_id="TR-2", **named)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": "perhaps"}, "truth 'perhaps'"),
        ({"truth": Verdict.NOT_DECIDABLE}, "truth"),
        ({"frame_id": None}, "names a frame or a part"),
        ({"frame_id": None, "part_id": " \r\n"}, "names a frame or a part"),
        ({"frame_id": "whatever"}, "does not say which camera"),
        ({"frame_id": "hall.1.press.top.60a24181e4000.00000012"}, "does not say which camera"),
        ({"station": "press", "camera_id": "side"}, "is of press/top, not of press/side"),
        ({"labelled_by": ""}, "labelled_by"),
        ({"labelled_at_us": -1}, "no time since 1970"),
        ({"labelled_at_us": 10**400}, "labelled_at: 10{39} µs is no time since 1970"),
        ({"defect": "crack"}, "a good part has none"),
        ({"note": "x" * 10_001}, "note: more than 10000"),
        ({"labelled_by": "\udcff"}, "labelled_by"),
    ],
)
def test_what_is_no_label(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        label(**changes)


@given(st.text(max_size=30))
def test_no_text_is_taken_for_a_camera_by_chance(text: str) -> None:
    found = camera_of(text)
    assert found is None or text.startswith(".".join(found) + ".")


def write(directory: Path, text: str | bytes) -> Path:
    path = directory / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file(tmp_path: Path) -> None:
    text = (
        HEAD
        + GOOD_ROW
        + ',P-7,press,top,NOT_OK,crack,,,,"two\nlines"\n'
        + "\n"
        + f"{FRAME},,,,,,,,near-threshold,\n"
        + ",P-8\u200b,press,top,nok,,2026-11-24T06:00:00+01:00,bob,,\n"
    )
    blank: list[int] = []
    path = write(tmp_path, text)
    first, second, third = labels_from_csv(path, labelled_by="eol", on_blank=lambda: blank.append(1))
    assert (first.truth, first.labelled_at_us, first.key) == (Verdict.OK, 1_795_500_000_000_000, "press/top")
    assert (first.sampled_because, first.labelled_by) == ("random", "ada")
    assert (second.part_id, second.defect, second.labelled_by, second.note) == ("P-7", "crack", "eol", "two\nlines")
    assert second.labelled_at_us == path.stat().st_mtime_ns // 1000
    assert third.part_id == "P-8"
    assert third.labelled_at_us == first.labelled_at_us - 3_600_000_000
    assert blank == [1]
    assert list(labels_from_csv(path, labelled_by="eol")) == [first, second, third]


def test_a_file_of_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfTruth;Frame_ID;priority\r\nOK;" + FRAME.encode() + b";0.9\r\n")
    [found] = labels_from_csv(path, labelled_by="ada")
    assert (found.truth, found.frame_id) == (Verdict.OK, FRAME)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty", "", "line 1: no column truth"),
        ("no header", GOOD_ROW, "line 1: column 'press.top"),
        ("a typing error", HEAD.replace("defect", "defekt") + GOOD_ROW, "line 1: column 'defekt' is not known"),
        ("no truth", "frame_id\n", "line 1: no column truth"),
        ("no id", "truth\ngood\n", "line 1: no column frame_id or part_id"),
        ("a column twice", "truth,truth,frame_id\n", "line 1: column truth is there twice"),
        ("truth", HEAD + GOOD_ROW + GOOD_ROW.replace("good", "maybe"), "line 3: truth 'maybe'"),
        ("time", HEAD + GOOD_ROW.replace("2026-11-24T06:00:00Z", "yesterday"), "line 2: labelled_at 'yesterday'"),
        ("camera", HEAD + ",P-7,,,good,,,ada,,\n", "line 2: station and camera_id"),
        ("long row", HEAD + GOOD_ROW.replace("\n", ",more\n"), "line 2: 11 values for 10 columns"),
        ("quotes", HEAD + GOOD_ROW + '"open\n', "line 3: "),
        ("huge field", HEAD + "x" * 200_000 + ",\n", "line 2: "),
        (
            "after two lines in one row",
            HEAD + f'{FRAME},,,,good,,,a,,"1\n2"\n{FRAME},,,,x,,,a,,\n',
            "line 4: truth 'x'",
        ),
        ("not UTF-8", HEAD.encode() + GOOD_ROW.encode().replace(b"ada", b"\xff"), "not UTF-8"),
        ("a picture", b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8|not known"),
    ],
)
def test_mistakes_name_file_line_and_column(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match=message) as caught:
        list(labels_from_csv(write(tmp_path, text)))
    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    bad: list[LabelFileError] = []
    path = write(tmp_path, HEAD + GOOD_ROW.replace("good", "x") + GOOD_ROW + GOOD_ROW.replace("ada", ""))
    assert len(list(labels_from_csv(path, on_bad=bad.append))) == 1
    assert ["line 2" in str(bad[0]), "line 4" in str(bad[1])] == [True, True]
    with pytest.raises(SettingsError, match="No such file"):
        list(labels_from_csv(tmp_path / "nothing.csv"))


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_garbage_ends_with_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), HEAD.encode() + data)
    bad: list[LabelFileError] = []
    with contextlib.suppress(LabelFileError):  # any other error fails the test
        assert all(isinstance(one, Label) for one in labels_from_csv(path, labelled_by="ada", on_bad=bad.append))
    assert all(len(str(error).splitlines()) == 1 for error in bad)


@pytest.mark.broker
def test_labels_are_published_in_order_under_their_camera(line: KafkaSettings) -> None:
    made = [label(labelled_at_us=number) for number in range(500)]
    assert publish_labels(line, iter(made)) == 500
    messages = list(read_topic(line, line.labels))
    codec = Codec.from_settings(line)
    assert [codec.decode(message.value, Label) for message in messages] == made
    assert {message.key for message in messages} == {b"press/top"}
    assert publish_labels(line, []) == 0


@pytest.mark.broker
def test_what_readers_or_the_broker_do_not_take_is_an_error(line: KafkaSettings) -> None:
    large = replace(label(), note="x" * 2_000_000)
    with pytest.raises(InspectionError, match=r"has 2000101 bytes, over the 65536 that readers take: shorten its note"):
        publish_labels(line, [label(), large])
    with pytest.raises(TopicMissing):
        publish_labels(replace(line, prefix=line.prefix + "x"), [label()])


def test_no_broker_is_one_line() -> None:
    with pytest.raises(BrokerUnavailable):
        publish_labels(KafkaSettings("127.0.0.1:9"), [label()])
