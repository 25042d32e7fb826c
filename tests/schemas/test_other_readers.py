"""Our topics without our code: plain fastavro, and Confluent's own (de)serialisers."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import re
from pathlib import Path

import fastavro
import pytest

from schemas import Decision, Frame
from schemas.codec import Codec
from schemas.compiled_schemas import schema_of
from schemas.errors import RegistryError, UnknownSchema
from schemas.registry import RegistryIds
from schemas.settings import KafkaSettings
from schemas.topics import TOPICS
from tests.support import records as examples
from tests.support.records import plain

KAFKA = KafkaSettings(schema_registry_url="mock://shared")
AVSC = Path(__file__).parents[2] / "schemas" / "avro"


@pytest.mark.parametrize("record", examples.ALL, ids=lambda r: type(r).__name__)
def test_plain_fastavro_reads_us(record):
    name = re.sub("(?<!^)(?=[A-Z])", "_", type(record).__name__).lower()
    schema = json.loads((AVSC / f"{name}.avsc").read_text(encoding="utf-8"))
    values = fastavro.schemaless_reader(io.BytesIO(Codec().encode(record)[10:]), schema, None)
    moments = [field for field in values if field.endswith("_at_us") and values[field] is not None]
    assert all(values[field].tzinfo is datetime.UTC for field in moments)
    assert plain(values) == plain(dataclasses.asdict(record))


def test_fastavro_reads_a_single_object_stream():
    """With the marker and the fingerprint, as its own single-object reader takes them."""
    record = examples.DECISION
    assert (
        fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema_of(Decision)), "CRC-64-AVRO")
        == Codec().encode(record)[2:10].hex()
    )


@pytest.fixture
def registry(monkeypatch):
    """Confluent's in-process registry, the same one for everybody in a test."""
    module = pytest.importorskip("confluent_kafka.schema_registry", reason="needs the extra `registry`")
    shared = module.SchemaRegistryClient.new_client({"url": "mock://shared"})
    monkeypatch.setattr(module.SchemaRegistryClient, "new_client", lambda _config: shared)
    return shared


@pytest.mark.parametrize("record", examples.ALL, ids=lambda r: type(r).__name__)
def test_confluent_reads_us(registry, record):
    avro = pytest.importorskip("confluent_kafka.schema_registry.avro")
    from confluent_kafka.serialization import MessageField, SerializationContext

    # Order matters: the codec registers, the reader only looks up.
    codec = Codec.from_settings(KAFKA)
    read = avro.AvroDeserializer(registry)
    values = read(codec.encode(record), SerializationContext(_topic(record), MessageField.VALUE))
    assert plain(values) == plain(dataclasses.asdict(record))
    assert codec.decode(codec.encode(record), type(record)) == record


@pytest.mark.parametrize("record", examples.ALL, ids=lambda r: type(r).__name__)
def test_we_read_confluent(registry, record):
    avro = pytest.importorskip("confluent_kafka.schema_registry.avro")
    from confluent_kafka.serialization import MessageField, SerializationContext

    write = avro.AvroSerializer(registry, json.dumps(schema_of(type(record))))
    topic = _topic(record)
    data = write(dataclasses.asdict(record), SerializationContext(topic, MessageField.VALUE))
    codec = Codec.from_settings(KAFKA)  # after the other writer has registered
    assert codec.decode(data, type(record)) == record
    assert codec.encode(record) == data


def _topic(record: object) -> str:
    return next(topic.name(KAFKA.prefix) for topic in TOPICS if topic.record is type(record))


def test_other_documentation_is_the_same_schema(registry):
    """Someone registered a copy without the doc strings: another id, the same canonical form."""
    from confluent_kafka.schema_registry import Schema

    schema = {**schema_of(Frame), "doc": "a copy"}
    schema_id = registry.register_schema(f"{KAFKA.frames}-value", Schema(json.dumps(schema), "AVRO"))
    codec = Codec.from_settings(KAFKA)
    own = codec.encode(examples.FRAME)
    assert int.from_bytes(own[1:5], "big") != schema_id
    assert codec.decode(b"\x00" + schema_id.to_bytes(4, "big") + own[5:], Frame) == examples.FRAME


def test_unknown_ids_of_the_registry_are_refused(registry):
    from confluent_kafka.schema_registry import Schema

    schema = {**schema_of(Frame), "fields": schema_of(Frame)["fields"][:3]}
    schema_id = registry.register_schema(f"{KAFKA.frames}-value", Schema(json.dumps(schema), "AVRO"))
    codec = Codec.from_settings(KAFKA)
    with pytest.raises(UnknownSchema, match=f"id {schema_id} "):
        codec.decode(b"\x00" + schema_id.to_bytes(4, "big") + b"\x02a\x02b\x02c", Frame)


def test_without_a_registry_nothing_is_asked():
    codec = Codec.from_settings(KafkaSettings())
    assert codec.encode(examples.FRAME)[:2] == b"\xc3\x01"


def test_both_formats_are_read_side_by_side(registry):
    """While a line moves to a registry, old messages are still in the topic."""
    assert Codec.from_settings(KAFKA).decode(Codec().encode(examples.FRAME), Frame) == examples.FRAME


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"], ids=["refused", "no URL"])
def test_an_unreachable_registry_is_one_line(url):
    with pytest.raises(RegistryError) as caught:
        Codec.from_settings(KafkaSettings(schema_registry_url=url))
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_passwords_are_not_shown():
    with pytest.raises(RegistryError) as caught:
        Codec.from_settings(
            KafkaSettings(schema_registry_url="http://me:secret@127.0.0.1:9,http://me:secret@127.0.0.1:10")
        )
    assert "secret" not in str(caught.value)


def test_only_topics_asked_for_have_an_id():
    ids = RegistryIds("mock://only-asked-for", {Frame: ["a", "b"]})
    assert ids.id_for(Frame, "a") in ids.schema_ids
    with pytest.raises(RegistryError, match="Decision in a"):
        ids.id_for(Decision, "a")
