"""Password of a running program: its file is read again, and the new password reaches all its clients.

A user of Kafka has one password for each mechanism. A broker asks for it at each new connection, and again after
``connections.max.reauth.ms`` (KIP-368). So a rotation is: the new password at the broker, then in the file. A client
that is asked in between is refused, and connects again when the file has the new one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.clock_waits import BUSY_S, ClockWaits
from transport.surviving import surviving

log = logging.getLogger(__name__)

#: Interval, in seconds, at which the file is read while clients use it.
_INTERVAL_S = 2.0
_PASSWORD = "sasl.password"


def refreshed(kafka: KafkaSettings) -> KafkaSettings:
    """Return settings with the secrets that their files have now; settings from no file stay as they are.

    Files that cannot be read in this moment change nothing.
    """
    if not kafka.from_files:
        return kafka
    try:
        found = KafkaSettings.from_env(bootstrap_servers=kafka.bootstrap_servers)
    except InspectionError as error:
        log.warning("the files of the connection are not read again: %s", error)
        return kafka
    return replace(kafka, client=found.client) if found.client else kafka


def follow_password(kafka: KafkaSettings, client: Any) -> None:
    """Give a client the password of its file whenever it changes, as long as the client exists.

    Parameters
    ----------
    client
        Client of confluent-kafka that was made with these settings.
    """
    if kafka.from_files and _PASSWORD in dict(kafka.client):
        _FOLLOWER.add(kafka, client)


class Consumer(confluent_kafka.Consumer):
    """Consumer of confluent-kafka whose password, and whose wall clock, can change while a thread polls it.

    confluent-kafka lets one thread at a time into a consumer. Another thread that sets the password waits until nobody
    polls, which may be for ever. So the thread that polls sets it, and wakes the client if the clock was set back
    (`transport.clock_waits`).
    """

    _login: tuple[str, str] | None = None

    def __init__(self, config: Mapping[str, Any], *, busy_s: float = BUSY_S) -> None:
        self._waits = ClockWaits(busy_s=busy_s)
        super().__init__(dict(config))

    def log_in_with(self, user: str, password: str) -> None:
        """Have the next ``poll`` or ``consume`` set the user and the password of further logins. It returns at once."""
        self._login = user, password

    def poll(self, timeout: float = -1) -> confluent_kafka.Message | None:
        """Return the next message, see `confluent_kafka.Consumer.poll`."""
        for within_s in self._waits.attempts(timeout):
            self._prepare()
            message = super().poll(within_s)
            if message is not None:
                self._waits.arrived()
                return message
        return None

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[confluent_kafka.Message]:
        """Return the next messages, see `confluent_kafka.Consumer.consume`."""
        found: list[confluent_kafka.Message] = []
        for within_s in self._waits.attempts(timeout):
            self._prepare()
            found += super().consume(num_messages - len(found), within_s)
            if len(found) >= num_messages:
                break
        if found:
            self._waits.arrived()
        return found

    def committed(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """Return committed offsets, see `confluent_kafka.Consumer.committed`; a new password is set while it waits."""
        end_s = math.inf if timeout < 0 else time.monotonic() + timeout
        while True:
            self._set_login()
            left_s = end_s - time.monotonic()
            try:
                return super().committed(partitions, min(_INTERVAL_S, left_s))
            except KafkaException as error:
                if left_s <= _INTERVAL_S or error.args[0].code() != KafkaError._TIMED_OUT:
                    raise

    def _prepare(self) -> None:
        self._set_login()
        if self._waits.was_set_back():
            super().assignment()  # the client's own thread answers it, and so wakes

    def _set_login(self) -> None:
        if self._login is not None:
            login, self._login = self._login, None
            self.set_sasl_credentials(*login)


class _Follower:
    """Thread that reads the files of all clients of this process; it ends with the last client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: weakref.WeakKeyDictionary[Any, tuple[KafkaSettings, str]] = weakref.WeakKeyDictionary()
        self._thread: threading.Thread | None = None
        self._is_refused = False

    def add(self, kafka: KafkaSettings, client: Any) -> None:
        with self._lock:
            self._clients[client] = kafka, dict(kafka.client)[_PASSWORD]
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="password", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_INTERVAL_S)
            with self._lock:
                clients = list(self._clients.items())
                if not clients:
                    self._thread = None
                    return
            with surviving(log, "reading the password again"):
                self._update(clients)
            del clients

    def _update(self, clients: list[tuple[Any, tuple[KafkaSettings, str]]]) -> None:
        found: dict[str, dict[str, str]] = {}
        changed = 0
        for client, (kafka, password) in clients:
            try:
                if kafka.bootstrap_servers not in found:
                    now = KafkaSettings.from_env(bootstrap_servers=kafka.bootstrap_servers)
                    found[kafka.bootstrap_servers] = dict(now.client)
            except InspectionError as error:
                if not self._is_refused:
                    log.error("the files of the connection are not read again: %s; the old password is used", error)
                self._is_refused = True
                return
            self._is_refused = False
            settings = found[kafka.bootstrap_servers]
            user, wanted = settings.get("sasl.username"), settings.get(_PASSWORD)
            if user is None or wanted is None or (wanted == password and user == dict(kafka.client)["sasl.username"]):
                continue
            try:
                log_in_with = client.log_in_with if isinstance(client, Consumer) else client.set_sasl_credentials
                log_in_with(user, wanted)
                changed += 1
            except RuntimeError:
                pass  # it is closed
            with self._lock:
                self._clients[client] = replace(kafka, client=tuple(settings.items())), wanted
        if changed:
            log.info("a new password for %d clients of Kafka", changed)


_FOLLOWER = _Follower()
