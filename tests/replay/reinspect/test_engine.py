"""Frames in, results out in order, bounded, whatever the frames are."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models import FramePosition, load_model
from models.opencv import cv2
from replay.reinspect.engine import BATCH_FRAMES, inspect_all
from replay.reinspect.inspector import InspectionJob, Inspector
from replay.reinspect.variants import LoadedVariant, Variant, load
from schemas.clock import SystemClock
from schemas.codec import Codec
from schemas.errors import SettingsError
from schemas.records import Encoding, Frame, ImageReference
from stream_processors.worker.frame_processor import FrameProcessor
from stream_processors.worker.frame_task import FrameMessage
from tests.support.gate_records import make_frame
from tests.support.packages import MakePackage, encoded, scene
from transport.image_store import ImageStore
from transport.stored_message import MessagePosition, StoredMessage

PNG = bytes(cv2.imencode(".png", np.full((8, 8), 120, np.uint8))[1])


def stored(offset: int, image: bytes | None = PNG, **changes: object) -> StoredMessage[Frame]:
    given = {"image": image, "sha256": hashlib.sha256(image or b"").hexdigest(), "encoding": Encoding.PNG}
    values = given | changes
    return StoredMessage(MessagePosition("t", 0, offset), 1, b"s/cam", {}, make_frame(f"p{offset}", **values))


@pytest.fixture
def tiny(make_package: MakePackage) -> LoadedVariant:
    return LoadedVariant(Variant("tiny"), load_model(make_package()))


def test_in_order_and_never_more_ahead_than_its_bound(tiny: LoadedVariant) -> None:
    inspector, read = Inspector([tiny], Codec()), []

    def frames() -> Iterator[tuple[StoredMessage[Frame], None]]:
        for offset in range(2000):
            read.append(offset)
            yield stored(offset), None

    for done, result in enumerate(inspect_all(frames(), inspector, threads=2)):
        assert result.position.offset == done
        assert len(read) - done <= BATCH_FRAMES * (2 * 3 + 2)
    assert done == 1999


def test_who_reads_no_further_leaves_nothing_running(tiny: LoadedVariant) -> None:
    results = inspect_all(((stored(n), None) for n in range(10**9)), Inspector([tiny], Codec()), threads=2)
    assert next(results).position.offset == 0
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith(("reinspect", "fetch"))]


def test_an_error_of_the_source_comes_out(tiny: LoadedVariant) -> None:
    def frames() -> Iterator[tuple[StoredMessage[Frame], None]]:
        yield stored(0), None
        raise SettingsError("gone")

    with pytest.raises(SettingsError, match="gone"):
        list(inspect_all(frames(), Inspector([tiny], Codec())))


def test_images_in_a_store_come_in_their_place_and_a_store_without_them_stops_nothing(
    tiny: LoadedVariant, tmp_path: Path
) -> None:
    store = ImageStore(str(tmp_path / "images"))
    digest = hashlib.sha256(PNG).hexdigest()
    reference = store.put("s", "cam", 0, digest, PNG, "png")
    gone = ImageReference(reference.uri.replace(digest, "0" * 64), 5)
    frames: list[StoredMessage[Frame]] = []
    for offset in range(60):
        kind = offset % 4
        if kind == 0:
            frames.append(stored(offset))
        elif kind == 1:
            frames.append(stored(offset, None, reference=reference, sha256=digest))
        elif kind == 2:
            frames.append(stored(offset, None, reference=gone, sha256="0" * 64))
        else:
            frames.append(StoredMessage(MessagePosition("t", 0, offset), 1, None, {}, None, b"x", "unknown-schema: x"))
    for inspector, expected in (
        (Inspector([tiny], Codec(), store), ["COMPLETED", "COMPLETED", "FAILED", None]),
        (Inspector([tiny], Codec()), ["COMPLETED", "FAILED", "FAILED", None]),
    ):
        results = list(inspect_all(((frame, None) for frame in frames), inspector, threads=2))
        assert [result.position.offset for result in results] == list(range(60))
        states = [result.variants[0][0].result_state.value if result.variants else None for result in results]
        assert states == expected * 15
        assert all((result.row is None) == (not result.variants) for result in results)


def test_variants_have_names_of_their_own(make_package: MakePackage) -> None:
    path = make_package()
    for variants, said in (
        ([], "at least one"),
        ([Variant("a", path), Variant("a", path, 0.3)], "twice"),
        ([Variant("a", path, 1.5)], "threshold 1.5"),
    ):
        with pytest.raises(SettingsError, match=said):
            load(variants)
    for name in ("", "recorded", "a b", "../x", "é", "x" * 65, "-x", "a\n"):
        with pytest.raises(SettingsError):
            Variant(name)


def test_regions_and_tiles_decide_in_replay_as_they_did_live(make_package: MakePackage) -> None:
    spec = {
        "name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32",
        "roi": {"polygon": [[8, 8], [120, 8], [8, 90]]}, "tiles": {"grid": [5, 3], "overlap": 0.3},
    }  # fmt: skip
    variant = LoadedVariant(Variant("tiles"), load_model(make_package(input=spec)))
    live = FrameProcessor(variant.model, Codec(), SystemClock())
    states = []
    for number, (wh, suffix) in enumerate([((128, 96), ".png"), ((128, 96), ".jpg"), ((100, 96), ".png")]):
        image = encoded(scene(*wh, seed=number), suffix)
        encoding = Encoding.JPEG if suffix == ".jpg" else Encoding.PNG
        found = stored(number, image, encoding=encoding, width=wh[0], height=wh[1])
        assert found.record is not None
        value = Codec().encode(found.record)
        position = FramePosition("t", 0, number, 1)
        decided = live(FrameMessage(value, b"s/cam", {}, position)).decision
        assert decided is not None
        states.append((decided.result_state.value, decided.reason.partition(":")[0]))
        [(_, difference)] = Inspector([variant], Codec())(InspectionJob(found, decided)).variants
        assert difference is None
    assert states[0][0] == states[1][0] == "COMPLETED"
    assert states[2] == ("FAILED", "outside-frame")
