"""Any record that the schemas allow."""

from __future__ import annotations

from hypothesis import strategies as st

from schemas import (
    Action,
    AuditEvent,
    AuditOutcome,
    DeadLetter,
    Decision,
    Defect,
    DriftEvent,
    DriftKind,
    DriftType,
    Encoding,
    EpisodeState,
    Frame,
    ImageReference,
    Label,
    ResultState,
    SignalChange,
    Verdict,
)

# A str of Python may hold lone surrogates, which no UTF-8 has.
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)
# Timestamps within the years that a datetime can say, so that plain readers can convert them.
moments = st.integers(0, 4_102_444_800_000_000)
doubles = st.floats(allow_nan=False)
maybe_text = st.none() | text
_identity = {
    "frame_id": text,
    "line": text,
    "station": text,
    "camera_id": text,
    "part_id": maybe_text,
    "lot": maybe_text,
    "started_at_us": moments,
    "sequence": longs,
    "captured_at_us": moments,
    "attributes": st.dictionaries(text, text, max_size=3),
}
_metadata = {
    **_identity,
    "deadline_ms": st.none() | ints,
    "encoding": st.sampled_from(Encoding),
    "width": ints,
    "height": ints,
    "sha256": text,
}
frames = st.builds(Frame, **_metadata, image=st.binary(max_size=200), reference=st.none()) | st.builds(
    Frame, **_metadata, image=st.none(), reference=st.builds(ImageReference, text, longs)
)
decisions = st.builds(
    Decision,
    **_identity,
    decision_id=text,
    image_sha256=text,
    verdict=st.sampled_from(Verdict),
    action=st.sampled_from(Action),
    result_state=st.sampled_from(ResultState),
    reason=text,
    score=st.none() | doubles,
    threshold=st.none() | doubles,
    labels=st.dictionaries(text, doubles, max_size=3),
    defects=st.lists(st.builds(Defect, text, doubles, st.tuples(doubles, doubles, doubles, doubles)), max_size=3).map(
        tuple
    ),
    model_name=text,
    model_version=text,
    model_sha256=text,
    model_stage=text,
    recipe_id=text,
    recipe_revision=text,
    signals=st.dictionaries(text, doubles, max_size=3),
    received_at_us=moments,
    decided_at_us=moments,
    deadline_at_us=st.none() | moments,
    durations_ms=st.dictionaries(text, doubles, max_size=3),
    is_late=st.booleans(),
    is_simulated=st.booleans(),
    is_partial=st.booleans(),
    source_topic=text,
    source_partition=ints,
    source_offset=longs,
)
dead_letters = st.builds(
    DeadLetter,
    source_topic=text,
    source_partition=ints,
    source_offset=longs,
    kind=text,
    reason=text,
    failed_at_us=moments,
    worker=text,
    frame_id=maybe_text,
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=200),
    headers=st.dictionaries(text, st.binary(max_size=20), max_size=3),
)
labels = st.builds(
    Label,
    label_id=text,
    line=text,
    station=text,
    camera_id=text,
    frame_id=text,
    part_id=maybe_text,
    truth=st.sampled_from(Verdict),
    defect=maybe_text,
    labelled_at_us=moments,
    labelled_by=text,
    sampled_because=text,
    note=text,
)
texts = st.lists(text, max_size=3).map(tuple)
drift_events = st.builds(
    DriftEvent,
    event_id=text,
    episode_id=text,
    state=st.sampled_from(EpisodeState),
    drift_type=st.sampled_from(DriftType),
    kind=st.sampled_from(DriftKind),
    cause=text,
    line=text,
    station=text,
    camera_id=text,
    product=maybe_text,
    reason=text,
    signals=st.lists(st.builds(SignalChange, text, text, doubles, doubles, doubles), max_size=3).map(tuple),
    started_frame_id=text,
    started_at_us=moments,
    detected_frame_id=text,
    detected_at_us=moments,
    frames=longs,
    frames_before=texts,
    frames_after=texts,
    closed_at_us=st.none() | moments,
    closed_because=text,
    acknowledged_by=maybe_text,
    note=text,
    model_name=text,
    model_version=text,
    model_sha256=text,
    recipe_id=text,
    recipe_revision=text,
    emitted_at_us=moments,
    is_simulated=st.booleans(),
    source_topic=text,
    source_partition=ints,
    source_offset=longs,
)
audit_events = st.builds(
    AuditEvent,
    event_id=text,
    written_at_us=moments,
    act=text,
    outcome=st.sampled_from(AuditOutcome),
    about=text,
    before=text,
    after=text,
    principal=text,
    login=text,
    stated_by=text,
    note=text,
    host=text,
    uid=longs,
    program=text,
    chain_offset=longs,
    chain_sha256=text,
)
records = frames | decisions | dead_letters | labels | drift_events | audit_events
