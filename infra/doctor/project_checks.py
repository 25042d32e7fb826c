"""Checks of our own parts: schemas, model, images, and the cluster with its topics."""

from __future__ import annotations

import time

from infra.doctor.check import Check
from schemas.errors import BrokerRefused, BrokerUnavailable, BrokerUntrusted, NotAuthorised
from schemas.settings import KafkaSettings


def schemas_known() -> Check:
    """Check that the Avro files parse, and that the codec knows every released version."""
    from schemas.compiled_schemas import RECORDS, compiled, fingerprint_of_schema, released_schemas_of

    versions = 0
    for record in RECORDS:
        released = released_schemas_of(record).values()
        versions += len(released)
        if not released or not all(compiled(record).knows(fingerprint_of_schema(schema)) for schema in released):
            return Check("schemas", "fail", f"{record.__name__} has no known release", "install the package again")
    return Check("schemas", "ok", f"{len(RECORDS)} records, {versions} released versions readable")


def model() -> Check:
    """Check that the model that ships is intact: the hash in its manifest, its shapes, one inference."""
    from models import default_model_path, load_model

    started = time.monotonic()
    loaded = load_model(default_model_path())
    took_ms = (time.monotonic() - started) * 1000
    detail = f"{loaded.name} {loaded.version}, sha256 {loaded.sha256[:12]}, loaded in {took_ms:.0f} ms"
    return Check("model", "ok", detail)


def demo_images() -> Check:
    """Check that the labelled images of the demo are installed."""
    from models.datasets.elpv import DatasetMissing, load_cells

    try:
        return Check("demo images", "ok", f"{len(load_cells())} labelled solar cells")
    except DatasetMissing as error:
        return Check("demo images", "warn", str(error), "`pip install streaming-inspection[demo]`")


def broker(kafka: KafkaSettings) -> Check:
    """Check that a broker answers, is believed, and accepts the login."""
    from transport.admin import list_topics

    started = time.monotonic()
    try:
        list_topics(kafka, 3.0)
    except BrokerUntrusted as error:
        remedy = "correct ssl.ca.location or the address in the file that INSPECTION_KAFKA_CONFIG names"
        return Check("broker", "fail", f"TLS: {error}", remedy)
    except BrokerRefused as error:
        return Check("broker", "fail", f"login: {str(error).partition('; ')[0]}", str(error).partition("; ")[2])
    except BrokerUnavailable as error:
        remedy = "`inspection broker start`, or name yours with --bootstrap-servers"
        return Check("broker", "fail", f"network: {str(error).rpartition('; ')[0]}", remedy)
    took_ms = (time.monotonic() - started) * 1000
    return Check("broker", "ok", f"{kafka.bootstrap_servers} answers in {took_ms:.0f} ms{_login(kafka)}")


def _login(kafka: KafkaSettings) -> str:
    client = dict(kafka.client)
    if not client:
        return ""
    user = client.get("sasl.username")
    return f", {client.get('security.protocol', 'PLAINTEXT')}" + ("" if user is None else f" as {user}")


def topics(kafka: KafkaSettings) -> Check:
    """Check that the topics exist and have the wanted settings, as far as the user may see topics and settings."""
    from schemas.topics import TOPICS
    from transport.admin import list_topics
    from transport.topic_setup import plan

    present = list_topics(kafka, 3.0)
    absent = [topic for topic in TOPICS if topic.name(kafka.prefix) not in present]
    hidden = {
        topic.name(kafka.prefix): error for topic in absent if (error := _hidden(kafka, topic.name(kafka.prefix)))
    }
    missing = [topic.name(kafka.prefix) for topic in absent if topic.name(kafka.prefix) not in hidden]
    if len(hidden) == len(TOPICS):
        what, _, remedy = str(next(iter(hidden.values()))).partition("; ")
        return Check("topics", "fail", f"rights: {what}", remedy)
    spare = {
        kafka.audit_log: "so acts are not recorded",
        kafka.signing_keys: "so `--trust-topic` adds no keys",
        kafka.http_keys: "so an idempotency key of `inspection gateway` holds in one gateway only",
    }
    if missing and set(missing) <= set(spare):  # a line of an earlier version, which works
        detail = f"missing: {'; '.join(f'{name}, {spare[name]}' for name in missing)}"
        return Check("topics", "warn", detail, "`inspection topics apply`")
    if missing:
        return Check("topics", "fail", f"missing: {', '.join(missing)}", "`inspection topics apply`")
    visible = [topic for topic in TOPICS if topic.name(kafka.prefix) not in hidden]
    found = f"{len(visible)} under {kafka.prefix!r}"
    try:
        states = plan(kafka, visible, timeout_s=3.0)
    except NotAuthorised as error:
        detail = f"{found} are there; settings not compared: {str(error).partition('; ')[0]}"
        return Check("topics", "warn", detail, "run the doctor as a user with the role platform")
    differing = [f"{s.name} ({', '.join(d.key for d in s.differences)})" for s in states if s.differences]
    if differing:
        return Check("topics", "warn", f"differ: {'; '.join(differing)}", "see `inspection topics diff`")
    if hidden:
        detail = f"{found}; this user may not see {', '.join(hidden)}"
        return Check("topics", "warn", detail, "run the doctor as a user with the role platform")
    return Check("topics", "ok", found)


def _hidden(kafka: KafkaSettings, name: str) -> NotAuthorised | None:
    from transport.admin import require_visible

    try:
        require_visible(kafka, [name], 3.0)
    except NotAuthorised as error:
        return error
    return None


def schema_registry(kafka: KafkaSettings) -> Check:
    """Check that the schema registry answers, if the settings name one; nothing is written to it."""
    from schemas.registry import reach

    if kafka.schema_registry_url is None:
        return Check("schema registry", "ok", "none named: Avro single-object encoding")
    subjects = reach(kafka.schema_registry_url, dict(kafka.registry_client))
    return Check("schema registry", "ok", f"answers, {subjects} subjects")
