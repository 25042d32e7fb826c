"""Registration of our schemas in a Confluent Schema Registry, so that any Kafka tool can read the topics.

All requests to the registry are made on construction. Encoding and decoding then only read dictionaries, so they go on
if the registry becomes unreachable later. The ids are also kept on disk (`schemas.registry_cache`), for programs that
start while it is unreachable.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from schemas.addresses import HIDDEN
from schemas.compiled_schemas import Schema, compiled, fingerprint_of_schema, released_schemas_of, schema_of
from schemas.connection.registry_client import TOKEN, registry_secrets
from schemas.errors import RegistryError, RegistrySilent, error_line
from schemas.registry_cache import RegistryIdMap, read_ids, write_ids

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

log = logging.getLogger(__name__)

_TIMEOUT_S = 5
_LOOPBACK = re.compile(r"https?://(?:[^/@]*@)?(?:localhost|127(?:\.\d+){3}|\[::1\])(?:[:/]|$)")
_HTTP_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_PROXY_VARIABLES = frozenset({"all_proxy", "http_proxy", "https_proxy"})
_NOT_FOUND = 404
_LOGIN_REFUSED = (401, 403)
#: First status of errors on the side of the server.
_NOT_IN_ORDER = 500
#: Clients of Confluent's registry want the name of a cluster beside a token; other registries do not read it.
_ANY_CLUSTER = "-"


class RegistryIds:
    """Registry ids of the schemas that this version knows, by record and by id.

    Current and released schemas are looked up under ``<topic>-value``, and registered if the registry does not have
    them yet. Other versions of the subject that differ only in their documentation also count as known.

    Parameters
    ----------
    url
        ``http(s)://[user:password@]host:port``, several separated by commas.
    topics
        Names of the topics that carry each record class.
    client
        Settings of its client for TLS and login, see `schemas.connection.registry_client`.

    Raises
    ------
    RegistryError
        If the registry refuses a schema or the login, if it does not answer and its ids have not been seen on this
        machine, or if its client (the extra ``registry``) is missing.

    Examples
    --------
    >>> from schemas.records import Frame
    >>> ids = RegistryIds("mock://docs", {Frame: ["inspection.frames"]})
    >>> ids.id_for(Frame, "inspection.frames") in ids.schema_ids
    True
    """

    def __init__(
        self, url: str, topics: Mapping[type, Iterable[str]], client: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._url = url
        wanted = {record: list(names) for record, names in topics.items()}
        self._schema_ids: dict[int, bytes] = {}
        self._own: dict[tuple[type, str], int] = {}
        try:
            with _client(url, client) as registry:
                for record, names in wanted.items():
                    for name in names:
                        self._load(registry, record, name)
        except RegistrySilent as error:
            known = read_ids(url, wanted)
            if known is None:
                raise
            self._schema_ids, self._own = dict(known.schema_ids), dict(known.own)
            log.warning("%s; the ids that it gave before are used", error)
        else:
            write_ids(url, wanted, RegistryIdMap(self._schema_ids, self._own))

    @property
    def schema_ids(self) -> Mapping[int, bytes]:
        """Fingerprints of the schemas that this version knows, by registry id, for `schemas.codec.decode`."""
        return MappingProxyType(self._schema_ids)

    def id_for(self, record: type, topic: str) -> int:
        """Return the registry id of the current schema of a record class in a topic.

        Raises
        ------
        RegistryError
            If the topic was not passed on construction.
        """
        try:
            return self._own[record, topic]
        except KeyError:
            raise RegistryError(self._url, f"no id was asked for {record.__name__} in {topic}") from None

    def _load(self, client: SchemaRegistryClient, record: type, topic: str) -> None:
        subject = f"{topic}-value"
        # Oldest first, so that the registry checks the compatibility of the schemas in the order of release.
        versions: dict[bytes, Schema] = {fingerprint_of_schema(s): s for s in released_schemas_of(record).values()}
        current = compiled(record).fingerprint
        versions.pop(current, None)
        versions[current] = schema_of(record)
        for found, schema in versions.items():
            schema_id = _find_or_register(client, subject, schema)
            self._schema_ids[schema_id] = found
            if found == current:
                self._own[record, topic] = schema_id
        for version in client.get_versions(subject):
            registered = client.get_version(subject, version)
            text = registered.schema.schema_str
            if registered.schema.schema_type in (None, "AVRO") and text:
                found = fingerprint_of_schema(json.loads(text))
                if registered.schema_id is not None and compiled(record).knows(found):
                    self._schema_ids[registered.schema_id] = found


def reach(url: str, client: Mapping[str, str]) -> int:
    """Return the number of subjects in a registry; used only to check that the registry answers.

    Raises
    ------
    RegistryError
        If the registry does not answer, or its client is missing.
    """
    with _client(url, client) as registry:
        return len(registry.get_subjects())


@contextmanager
def _client(url: str, client: Mapping[str, str]) -> Iterator[SchemaRegistryClient]:
    """Yield a client; errors of the registry within the block become a `RegistryError` with a one-line reason."""
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        raise RegistryError(
            url, f"its client is not installed ({error}): `pip install streaming-inspection[registry]`"
        ) from error
    try:
        with _without_proxies(url):
            registry = SchemaRegistryClient.new_client(_config(url, client))
        yield registry
    except Exception as error:
        if not _is_of_the_registry(error):
            raise
        kind = RegistrySilent if _is_silence(error) else RegistryError
        raise kind(url, _hidden(_reason(error), client)) from error


def _config(url: str, client: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {"url": url, "timeout": _TIMEOUT_S, "max.retries": 1, **client}
    if TOKEN in client:
        config["bearer.auth.credentials.source"] = "STATIC_TOKEN"
        config.setdefault("bearer.auth.logical.cluster", _ANY_CLUSTER)
    return config


def _hidden(text: str, client: Mapping[str, str]) -> str:
    """Return a text of the client without the secrets of its settings."""
    for secret in registry_secrets(client.items()):
        text = text.replace(secret, HIDDEN) if secret else text
    return text


@contextmanager
def _without_proxies(url: str) -> Iterator[None]:
    """Hide the proxies of the environment while the client of a registry on this machine is made.

    The client reads all of them when it is made, and fails at one that it cannot use, even if ``no_proxy`` exempts the
    host.
    """
    hidden = {}
    if url.startswith("mock:") or _LOOPBACK.match(url):
        hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.lower() in _PROXY_VARIABLES}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _find_or_register(client: SchemaRegistryClient, subject: str, schema: Schema) -> int:
    from confluent_kafka.schema_registry import Schema as RegistrySchema
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    wanted = RegistrySchema(json.dumps(schema), "AVRO")
    try:
        # The schema is looked up first: at many sites programs may read the registry, and only people may write to it.
        found = client.lookup_schema(subject, wanted).schema_id
        if found is not None:
            return found
    except SchemaRegistryError as error:
        if error.http_status_code != _NOT_FOUND:
            raise
    return client.register_schema(subject, wanted)


def _is_of_the_registry(error: Exception) -> bool:
    # The client lets errors of its HTTP library through. The name of that library depends on the client's version.
    return _origin(error) in {"confluent_kafka", *_HTTP_LIBRARIES} or isinstance(
        error,
        (ValueError, TypeError, OSError, ImportError),  # the last for a SOCKS proxy of the environment
    )


def _is_silence(error: Exception) -> bool:
    """Return True if the registry was not reached, or says that it is not in order."""
    status = getattr(error, "http_status_code", None)
    return status >= _NOT_IN_ORDER if isinstance(status, int) else _origin(error) in _HTTP_LIBRARIES


def _origin(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def _reason(error: Exception) -> str:
    status = getattr(error, "http_status_code", None)
    if status in _LOGIN_REFUSED:
        return f"it refuses the login (HTTP {status}); INSPECTION_SCHEMA_REGISTRY_CONFIG names the file that has it"
    if isinstance(status, int) and status >= _NOT_IN_ORDER:
        return f"it is not in order (HTTP {status})"
    detail: Any = getattr(error, "error_message", None)
    return " ".join(str(detail).split()) if detail else error_line(error)
