"""`inspection broker start` without options: only this user's programs can use the broker, and they find it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.broker import BrokerError, LocalBroker
from infra.broker.secured_start import USER, find_security, make_security, require_open, write_client
from infra.demo.processes import inspection_command
from schemas import KafkaSettings
from schemas.connection.local_broker import local_client
from schemas.errors import BrokerRefused, BrokerUnavailable
from schemas.topics import TOPICS
from transport.admin import list_topics
from transport.topic_setup import apply

pytestmark = pytest.mark.broker

NOBODY = 65534

#: Tries of a stranger: uid, address, prefix, data directory. Prints each that worked.
STRANGER = """\
import json, os, sys
from pathlib import Path
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigEntry, NewTopic, AlterConfigOpType

uid, address, prefix, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
worked = []


def attempt(name, action):
    try:
        action()
    except (KafkaException, OSError, TimeoutError):
        return
    worked.append(name)


topic = prefix + ".labels"
clients = {"plain": {}, "guessed": {
    "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "inspection",
    "sasl.password": "inspection",
}}
for kind, login in clients.items():
    config = {"bootstrap.servers": address, "log_level": 0, "socket.timeout.ms": 3000, **login}
    admin = AdminClient(config)
    attempt(kind + " list", lambda: admin.list_topics(timeout=3))
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    attempt(kind + " alter", lambda: admin.incremental_alter_configs([resource], request_timeout=2)[resource].result(9))
    attempt(kind + " create", lambda: admin.create_topics([NewTopic("x", 1)], request_timeout=2)["x"].result(9))
    attempt(kind + " delete", lambda: admin.delete_topics([topic], request_timeout=2)[topic].result(9))

    def write():
        producer = Producer({**config, "message.timeout.ms": 2000})
        failed = []
        producer.produce(topic, b"x", on_delivery=lambda error, _: failed.append(error))
        producer.flush(9)
        if failed[0] is not None:
            raise KafkaException(failed[0])

    attempt(kind + " write", write)
    consumer = Consumer({**config, "group.id": "x"})
    attempt(kind + " read", lambda: consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=3))
    consumer.close()


def opened(path):
    with open(path, "rb"):
        pass


attempt("folder", lambda: os.listdir(folder))
for name in sys.argv[5:]:
    attempt(name, lambda: opened(folder / name))
print(json.dumps(worked))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike the temporary ones of pytest."""
    with tempfile.TemporaryDirectory() as found:
        Path(found).chmod(0o755)
        yield Path(found) / "broker"


@pytest.mark.long
def test_another_user_is_refused_step_by_step(folder: Path, unique: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run a process as another user")
    security = make_security(folder)
    with LocalBroker(folder, port=0, security=security) as broker:
        address = broker.bootstrap_servers
        write_client(folder, security, address)
        kafka = KafkaSettings(address, unique, client=security.client(USER))
        apply(kafka)
        files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        assert {"security.json", "client.properties", "server.properties", "data/meta.properties"} <= set(files)
        modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in files if "/" not in name}
        assert set(modes.values()) == {0o600}, modes
        assert {stat.S_IMODE(each.stat().st_mode) for each in (folder, folder / "data")} == {0o700}
        arguments = [sys.executable, "-P", "-c", STRANGER, str(NOBODY), address, unique, str(folder), *files]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == []
        # The same requests work for this user: the topics are there, and unchanged.
        assert len([name for name in list_topics(kafka) if name.startswith(unique)]) == len(TOPICS)
        assert apply(kafka).created == ()
        assert all(state.status == "ok" for state in apply(kafka).states)
        status = broker.status()
        assert status.ready
        shown = " ".join(psutil.Process(status.pid).cmdline())
        assert not [password for password in security.passwords.values() if password in shown]
        with pytest.raises(BrokerUnavailable, match="ends each connection: it may want a login") as caught:
            list_topics(KafkaSettings(address))
        assert not isinstance(caught.value, BrokerRefused)


def run(*command: str, data: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("INSPECTION_")}
    return subprocess.run(
        inspection_command(*command), capture_output=True, text=True, timeout=240, check=False,
        env={**env, "XDG_DATA_HOME": str(data)},
    )  # fmt: skip


@pytest.mark.long
def test_commands_find_the_broker_of_their_user(tmp_path: Path) -> None:
    started = run("broker", "start", "--port", "0", data=tmp_path)
    try:
        assert started.returncode == 0, started.stderr
        status = json.loads(run("broker", "status", "--json", data=tmp_path).stdout)
        address = f"--bootstrap-servers {status['bootstrap_servers']}"
        assert f"it has a password: commands of this user find it with {address}\n" in started.stdout
        port = status["bootstrap_servers"].rpartition(":")[2]
        for host in ("127.0.0.1", "localhost"):
            applied = run("topics", "apply", "--bootstrap-servers", f"{host}:{port}", data=tmp_path)
            assert applied.returncode == 0, applied.stderr
        other = run("topics", "show", "--bootstrap-servers", f"127.0.0.1:{port}", data=tmp_path / "other")
        assert other.returncode == 1
        assert "it may want a login" in other.stderr
        opened = run("broker", "start", "--open", "--port", "0", data=tmp_path)
        assert opened.returncode == 1
        assert "has the topics of a broker with passwords; leave --open out" in opened.stderr
        # TLS can come later; passwords and topics stay.
        folder = tmp_path / "streaming-inspection" / "broker"
        before = find_security(folder)
        assert run("broker", "stop", data=tmp_path).returncode == 0
        again = run("broker", "start", "--secure", "--port", "0", data=tmp_path)
        assert "it has TLS and a password" in again.stdout, again.stderr
        after = find_security(folder)
        assert before is not None
        assert after is not None
        assert (after.passwords, after.keystore is not None) == (before.passwords, True)
        status = json.loads(run("broker", "status", "--json", data=tmp_path).stdout)
        diff = run("topics", "diff", "--bootstrap-servers", status["bootstrap_servers"], data=tmp_path)
        assert diff.returncode == 0, diff.stderr
    finally:
        run("broker", "stop", data=tmp_path)


@pytest.mark.long
def test_an_open_broker_says_so_and_stays_open(tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path / "broker"), "--port", "0")
    opened = run("broker", "start", "--open", *where, data=tmp_path)
    try:
        assert opened.returncode == 0, opened.stderr
        assert "warning: it has no passwords: every user of this machine can read, write and delete" in opened.stderr
        closed = run("broker", "start", *where, data=tmp_path)
        assert closed.returncode == 1
        assert "has the topics of a broker without passwords" in closed.stderr
        assert "go on with --open, or choose another --data-dir" in closed.stderr
        both = run("broker", "start", "--open", "--secure", *where, data=tmp_path)
        assert "--secure and --open exclude each other" in both.stderr
    finally:
        run("broker", "stop", *where[:2], data=tmp_path)


def test_the_file_is_for_its_address_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "streaming-inspection" / "broker"
    security = make_security(folder)
    write_client(folder, security, "127.0.0.1:9192")
    assert local_client("localhost:9192")["sasl.password"] == security.passwords[USER]
    assert KafkaSettings.from_env({"INSPECTION_BOOTSTRAP_SERVERS": "127.0.0.1:9192"}).client == security.client(USER)
    for address in ("127.0.0.1:9193", "kafka:9192", "127.0.0.1:9192,kafka:9192", "", "9192", "10.0.0.1:9192"):
        assert local_client(address) == {}
    with pytest.raises(BrokerError, match="leave --open out"):
        require_open(folder)
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("schemas.connection.local_broker.user_folder", lambda kind: Path("/nonexistent"))
    assert local_client("localhost:9192") == {}
