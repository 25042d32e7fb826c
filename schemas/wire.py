"""Codec that encodes and decodes as the settings state: with the ids of a registry, or without."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TypeVar

from schemas.codec import MAX_MESSAGE_BYTES, decode, encode
from schemas.errors import MetadataTooLarge
from schemas.records import DeadLetter, Decision, DriftEvent, Frame, Label, Record
from schemas.settings import KafkaSettings
from schemas.topics import TOPICS

R = TypeVar("R", Frame, Decision, DeadLetter, Label, DriftEvent)


class Codec:
    """Encoder and decoder of records, in the wire format of a line.

    Parameters
    ----------
    own_ids
        Registry id to write for each record class; a class without an id is written in single-object encoding.
    schema_ids
        Registry ids that may be read, see `schemas.codec.decode`.

    Examples
    --------
    >>> letter = DeadLetter(source_topic="t", source_partition=0, source_offset=7, kind="truncated",
    ...                     reason="ends early", failed_at_us=0, worker="w")
    >>> codec = Codec.from_settings(KafkaSettings())
    >>> codec.decode(codec.encode(letter), DeadLetter) == letter
    True
    """

    def __init__(
        self,
        own_ids: Mapping[type, int] = types.MappingProxyType({}),
        schema_ids: Mapping[int, type | bytes] = types.MappingProxyType({}),
    ) -> None:
        self._own_ids = dict(own_ids)
        self._schema_ids = dict(schema_ids)

    @classmethod
    def from_settings(cls, kafka: KafkaSettings) -> Codec:
        """Return the codec of the settings. If the settings name a registry, it is asked once, here.

        Raises
        ------
        RegistryError
            If the settings name a registry that does not answer, or that refuses our schemas.
        """
        if kafka.schema_registry_url is None:
            return cls()
        from schemas.registry import RegistryIds

        names = {topic.record: topic.name(kafka.prefix) for topic in TOPICS if topic.record is not bytes}
        ids = RegistryIds(kafka.schema_registry_url, {record: [name] for record, name in names.items()})
        return cls({record: ids.id_for(record, name) for record, name in names.items()}, ids.schema_ids)

    def encode(self, record: Record) -> bytes:
        """Encode a record, see `schemas.codec.encode`."""
        return encode(record, schema_id=self._own_ids.get(type(record)))

    def decode(self, data: bytes | None, record: type[R], *, max_bytes: int = MAX_MESSAGE_BYTES) -> R:
        """Decode a message, see `schemas.codec.decode`."""
        return decode(data, record, schema_ids=self._schema_ids, max_bytes=max_bytes)

    def decode_head(self, data: bytes | None) -> Frame:
        """Decode a frame; a frame with too large names and attributes is returned without attributes and image.

        Raises
        ------
        CodecError
            If not even the identity of the frame can be read.
        """
        try:
            return self.decode(data, Frame)
        except MetadataTooLarge as error:
            if isinstance(error.record, Frame):
                return error.record
            raise
