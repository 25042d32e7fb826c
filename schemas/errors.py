"""Every error a user can cause, as one tree.

::

    InspectionError                 one clear line for the person, exit status 1
    ├── SettingsError               an option, variable or file says something impossible
    ├── BrokerUnavailable           no answer from Kafka
    ├── TopicMissing                topics that `inspection topics apply` creates are not there
    ├── RegistryError               the schema registry does not answer or refuses our schemas
    ├── PluginError                 a camera or actuator that cannot be loaded
    └── CodecError                  bytes that are not a record of ours (carries ``kind``)
        ├── EmptyMessage
        ├── MessageTooLarge
        │   └── MetadataTooLarge
        ├── UnknownSchema
        ├── TruncatedMessage
        ├── TrailingBytes
        └── InvalidRecord

`models.errors` adds ``ModelPackageError`` and ``ImageError``, `infra` the errors of what it starts.
"""

from __future__ import annotations

from typing import ClassVar

from schemas.addresses import masked_address, masked_text


class InspectionError(Exception):
    """Base of what a user can cause; ``str(error)`` is one line that says what to do."""

    exit_code: ClassVar[int] = 1


class SettingsError(InspectionError):
    """An option, variable or file says something impossible."""


class BrokerUnavailable(InspectionError):
    """Kafka does not answer at the given address."""

    def __init__(self, bootstrap_servers: str, detail: str = "") -> None:
        why = f" ({detail})" if detail else ""
        super().__init__(
            f"no Kafka broker answers at {bootstrap_servers}{why}; "
            "start one with `inspection broker start` or name yours with --bootstrap-servers"
        )


class TopicMissing(InspectionError):
    """Topics are not there; nothing of ours creates them in passing."""

    def __init__(self, names: list[str], bootstrap_servers: str) -> None:
        prefix = names[0].rpartition(".")[0]
        super().__init__(
            f"missing topics on {bootstrap_servers}: {', '.join(names)}; "
            f"create them with `inspection topics apply --bootstrap-servers {bootstrap_servers} --prefix {prefix}`"
        )
        self.names = names


class RegistryError(InspectionError):
    """The schema registry does not answer, or refuses our schemas."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"schema registry at {masked_address(url)}: {masked_text(detail, url)}; "
            "leave INSPECTION_SCHEMA_REGISTRY_URL empty to work without one"
        )


class PluginError(InspectionError):
    """A camera, actuator or other plug-in cannot be found, imported or built."""


class CodecError(InspectionError):
    """Bytes that are not a record of ours; ``kind`` is the stable word for metrics and dead letters."""

    kind: ClassVar[str] = "codec"


class EmptyMessage(CodecError):
    """A message without a value."""

    kind = "empty-message"


class MessageTooLarge(CodecError):
    """More bytes than the topic's records may have; nothing of it was parsed."""

    kind = "too-large"


class MetadataTooLarge(MessageTooLarge):
    """Too many bytes beside the image or payload of a record; ``record`` is its head, if that could be read."""

    kind = "oversized-metadata"

    def __init__(self, message: str, record: object = None) -> None:
        super().__init__(message)
        self.record = record


class UnknownSchema(CodecError):
    """Neither a fingerprint nor a registry id that this version knows."""

    kind = "unknown-schema"


class TruncatedMessage(CodecError):
    """The bytes end before the record does."""

    kind = "truncated"


class TrailingBytes(CodecError):
    """The record ends before the bytes do."""

    kind = "trailing-bytes"


class InvalidRecord(CodecError):
    """Bytes or values that the schema or the record's own rules refuse."""

    kind = "invalid-record"
