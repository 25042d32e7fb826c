"""Errors that a user can cause, as one tree.

::

    InspectionError                 one clear line for the person, exit status 1
    ├── SettingsError               an option, variable or file has an impossible value
    ├── BrokerUnavailable           no answer from Kafka
    │   ├── BrokerUntrusted         its certificate is not believed, exit status 76
    │   └── BrokerRefused           Kafka refuses the login or the client's certificate, exit status 77
    ├── NotAuthorised               Kafka knows the user, who lacks a right, exit status 78
    ├── TopicMissing                topics that `inspection topics apply` creates do not exist
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

`models.errors` adds ``ModelPackageError`` and ``ImageError``; `infra` adds the errors of the programs that it starts.
"""

from __future__ import annotations

from typing import ClassVar

from schemas.addresses import masked_address, masked_text


class InspectionError(Exception):
    """Base of the errors that a user can cause; ``str(error)`` is one line that states what to do."""

    exit_code: int = 1


def error_line(error: BaseException) -> str:
    """Return the text of an error in one line; the error's type if it has no text.

    Examples
    --------
    >>> error_line(ValueError("bad   value")), error_line(TimeoutError())
    ('bad value', 'TimeoutError')
    """
    return " ".join(str(error).split()) or type(error).__name__


class SettingsError(InspectionError):
    """Impossible value of an option, a variable or a file."""


class BrokerUnavailable(InspectionError):
    """Missing answer of Kafka at the given address."""

    def __init__(self, bootstrap_servers: str, detail: str = "") -> None:
        why = f" ({detail})" if detail else ""
        super().__init__(
            f"no Kafka broker answers at {bootstrap_servers}{why}; "
            "start one with `inspection broker start` or name yours with --bootstrap-servers"
        )
        self.detail = detail


class BrokerUntrusted(BrokerUnavailable):
    """Broker whose certificate is not believed; ``detail`` says why, and what to do."""

    exit_code = 76

    def __init__(self, bootstrap_servers: str, detail: str) -> None:
        InspectionError.__init__(self, f"the certificate of Kafka at {bootstrap_servers} is not believed: {detail}")
        self.detail = detail


class BrokerRefused(BrokerUnavailable):
    """Refused login: wrong password, unknown user, or a certificate that the broker does not accept."""

    exit_code = 77

    def __init__(self, bootstrap_servers: str, detail: str) -> None:
        InspectionError.__init__(
            self,
            f"Kafka at {bootstrap_servers} refuses the login ({detail}); correct user, password or certificate in the "
            "files that INSPECTION_KAFKA_CONFIG and the variables beside it name",
        )
        self.detail = detail


class NotAuthorised(InspectionError):
    """Missing right of the user: Kafka knows the user, and refuses what the program needs.

    Parameters
    ----------
    kind, name
        Resource as Kafka's ACLs have it: ``topic``, ``group`` or ``transactional id``, and its name.
    operation
        Operation of the missing ACL, such as ``READ``.
    """

    exit_code = 78

    def __init__(self, kind: str, name: str, operation: str) -> None:
        super().__init__(
            f"the user may not {operation} the {kind} {name}; allow {operation} on it with an ACL, see docs/security.md"
        )
        self.kind, self.name, self.operation = kind, name, operation


class TopicMissing(InspectionError):
    """Topics that do not exist; only `inspection topics apply` creates them."""

    def __init__(self, names: list[str], bootstrap_servers: str) -> None:
        prefix = names[0].rpartition(".")[0]
        super().__init__(
            f"missing topics on {bootstrap_servers}: {', '.join(names)}; "
            f"create them with `inspection topics apply --bootstrap-servers {bootstrap_servers} --prefix {prefix}`"
        )
        self.names = names


class RegistryError(InspectionError):
    """Schema registry that does not answer, or that refuses our schemas."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(
            f"schema registry at {masked_address(url)}: {masked_text(detail, url)}; "
            "leave INSPECTION_SCHEMA_REGISTRY_URL empty to work without one"
        )


class RegistrySilent(RegistryError):
    """Schema registry that is not reached, or that says it is not in order: ids that it gave before are still right."""


class PluginError(InspectionError):
    """Camera, actuator or other plug-in that cannot be found, imported or built."""


class CodecError(InspectionError):
    """Bytes that are not a record of ours; ``kind`` is the stable word for metrics and dead letters."""

    kind: ClassVar[str] = "codec"


class EmptyMessage(CodecError):
    """Message without a value."""

    kind = "empty-message"


class MessageTooLarge(CodecError):
    """Message with more bytes than the topic's records may have; it was not parsed."""

    kind = "too-large"


class MetadataTooLarge(MessageTooLarge):
    """Too many bytes beside the image or payload of a record; ``record`` is its head, if the head could be read."""

    kind = "oversized-metadata"

    def __init__(self, message: str, record: object = None) -> None:
        super().__init__(message)
        self.record = record


class UnknownSchema(CodecError):
    """Message without a fingerprint or registry id that this version knows."""

    kind = "unknown-schema"


class TruncatedMessage(CodecError):
    """Message whose bytes end before its record ends."""

    kind = "truncated"


class TrailingBytes(CodecError):
    """Message with bytes after the end of its record."""

    kind = "trailing-bytes"


class InvalidRecord(CodecError):
    """Bytes or values that the schema or the record's own rules refuse."""

    kind = "invalid-record"
