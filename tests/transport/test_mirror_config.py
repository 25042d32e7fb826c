"""Configuration of MirrorMaker: no secret in it, the names of Java's clients, and clear refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import InspectionError, SettingsError
from schemas.topics import TOPICS
from transport.mirror_config import MirrorSite, mirror_config, mirrored_prefix

SECRET = "m1rror-pass-of-the-suite"
PLAIN = {"bootstrap.servers": "centre:9092"}
SCRAM = {
    "bootstrap.servers": "line:9093",
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "mirror",
    "sasl.password": SECRET,
    "ssl.ca.location": "ca.pem",
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Folder with the certificates that the files name."""
    for name in ("ca.pem", "client.pem", "client.key", "both.pem", "client.p12"):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text("PEM")
    (tmp_path / "folder").mkdir()
    return tmp_path


def site(folder: Path, name: str, lines: dict[str, str], password: str | None = None) -> MirrorSite:
    """Write the file of a client."""
    path = folder / f"{name}.properties"
    path.touch(0o600)
    path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    if password is None:
        return MirrorSite(name, path)
    file = folder / "password"
    file.touch(0o600)
    file.write_text(password)
    return MirrorSite(name, path, file)


def rows(text: str) -> dict[str, str]:
    """Return the settings of a properties file."""
    return dict(line.split(" = ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_four_topics_go_and_images_stay(files: Path) -> None:
    found = rows(mirror_config(site(files, "hall1", SCRAM), site(files, "plant", PLAIN), "press.7", copies=2))
    assert found["clusters"] == "hall1, plant"
    assert found["hall1->plant.enabled"] == "true"
    assert found["plant->hall1.enabled"] == "false"
    patterns = found["hall1->plant.topics"].split(",")
    mirrored = {topic.suffix for topic in TOPICS if any(re.fullmatch(each, topic.name("press.7")) for each in patterns)}
    assert mirrored == {"decisions", "labels", "drift", "dead-letters"}
    assert not any(re.fullmatch(each, "pressX7.decisions") for each in patterns)
    assert {value for key, value in found.items() if key.endswith("replication.factor")} == {"2"}
    assert "replication.policy.class" not in found
    kept = rows(mirror_config(site(files, "a", PLAIN), site(files, "b", PLAIN), "press", keep_names=True))
    assert kept["replication.policy.class"].endswith("IdentityReplicationPolicy")
    assert mirrored_prefix(MirrorSite("a", files), "press", keep_names=True) == "press"


def test_secrets_are_references(files: Path) -> None:
    text = mirror_config(site(files, "line", SCRAM), site(files, "centre", PLAIN), "inspection")
    assert SECRET not in text
    found = rows(text)
    assert found["line.bootstrap.servers"] == "line:9093"
    assert found["line.sasl.mechanism"] == "SCRAM-SHA-512"
    assert found["line.sasl.jaas.config"].endswith(
        f'ScramLoginModule required username="mirror" password="${{file:{files}/line.properties:sasl.password}}";'
    )
    assert found["line.ssl.truststore.location"] == str(files / "ca.pem")
    assert {key for key in found if key.startswith("centre.")} == {
        "centre.bootstrap.servers", "centre.producer.acks", "centre.producer.max.request.size",
    }  # fmt: skip


def test_forms_of_a_login(files: Path) -> None:
    centre = site(files, "centre", PLAIN)

    def of(lines: dict[str, str], password: str | None = None) -> dict[str, str]:
        return rows(mirror_config(site(files, "line", lines, password), centre, "inspection"))

    without = {key: value for key, value in SCRAM.items() if key != "sasl.password"}
    assert f'password="${{directory:{files}:password}}"' in of(without, SECRET)["line.sasl.jaas.config"]
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    java = {key: value for key, value in without.items() if key != "sasl.username"}
    java["sasl.jaas.config"] = f'{module} required username="mirror" password="{SECRET}";'
    assert of(java)["line.sasl.jaas.config"] == f"${{file:{files}/line.properties:sasl.jaas.config}}"
    mutual = {
        "bootstrap.servers": "line:9093", "security.protocol": "SSL", "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "client.pem", "ssl.key.location": "client.key", "ssl.key.password": SECRET,
    }  # fmt: skip
    found = of(mutual)
    assert found["line.ssl.keystore.key"] == f"${{directory:{files}:client.key}}"
    assert found["line.ssl.key.password"] == f"${{file:{files}/line.properties:ssl.key.password}}"
    store = {"bootstrap.servers": "l:1", "security.protocol": "SSL", "ssl.keystore.location": "client.p12"}
    assert of({**store, "ssl.keystore.password": SECRET})["line.ssl.keystore.type"] == "PKCS12"


REFUSED = {
    "no address": ({"client.id": "x"}, "it has no bootstrap.servers"),
    "ciphers": ({**SCRAM, "ssl.cipher.suites": "ECDHE"}, "no counterpart"),
    "folder": ({**SCRAM, "ssl.ca.location": "folder"}, "is a folder"),
    "quote in the password": ({**SCRAM, "sasl.password": f'{SECRET}"'}, "has a quote"),
    "quote in the user": ({**SCRAM, "sasl.username": 'm"x'}, "has a quote"),
    "verification": ({**SCRAM, "enable.ssl.certificate.verification": "false"}, "only true is allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_line(files: Path, name: str) -> None:
    lines, reason = REFUSED[name]
    with pytest.raises(SettingsError) as caught:
        mirror_config(site(files, "line", lines), site(files, "centre", PLAIN), "inspection")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_backslash_in_the_file_of_the_password_is_refused(files: Path) -> None:
    """In a login of Java's clients a backslash is an escape: MirrorMaker would log in with another password."""
    without = {key: value for key, value in SCRAM.items() if key != "sasl.password"}
    with pytest.raises(SettingsError, match="has a quote or a backslash, which Java reads otherwise") as caught:
        mirror_config(site(files, "line", without, f"{SECRET}\\b"), site(files, "centre", PLAIN), "inspection")
    assert SECRET not in str(caught.value)


def test_remedies_name_the_options_of_the_command(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {key: value for key, value in SCRAM.items() if key != "sasl.password"}
    other = site(files, "other", PLAIN)

    def refusal(line: MirrorSite, centre: MirrorSite) -> str:
        with pytest.raises(SettingsError) as caught:
            mirror_config(line, centre, "inspection")
        assert "INSPECTION_" not in str(caught.value)
        return str(caught.value)

    bare = site(files, "bare", without)
    # The variable of other commands counts for one cluster, and this command has two.
    monkeypatch.setenv("INSPECTION_KAFKA_PASSWORD_FILE", str(site(files, "any", without, SECRET).password_file))
    assert "sasl.password is missing; --line-password-file may name a file that has it" in refusal(bare, other)
    assert "sasl.password is missing; --centre-password-file may name a file" in refusal(other, bare)
    twice = site(files, "twice", SCRAM, SECRET)
    assert "the same secret is in the file that --line-password-file names" in refusal(twice, other)
    assert "the same secret is in the file that --centre-password-file names" in refusal(other, twice)
    backslash = site(files, "backslash", {**SCRAM, "sasl.password": "a\\\\b"})
    assert "a file of its own and name the file in --centre-password-file" in refusal(other, backslash)
    mutual = {
        "bootstrap.servers": "line:9093", "security.protocol": "SSL", "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "client.pem", "ssl.key.location": "client.key", "ssl.key.password": "a\\\\b",
    }  # fmt: skip
    assert "it has a backslash" in refusal(site(files, "mutual", mutual), other)
    tokens = {
        "bootstrap.servers": "line:9093", "security.protocol": "SASL_SSL", "ssl.ca.location": "ca.pem",
        "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.id": "x",
    }  # fmt: skip
    assert "client.secret is missing" in refusal(site(files, "tokens", tokens), other)
    assert refusal(MirrorSite("none", files / "none"), other).startswith(f"--line={files}/none: No such file")


def test_a_line_break_behind_a_password_is_refused(files: Path) -> None:
    lines = {key: value for key, value in SCRAM.items() if key != "sasl.password"}
    with pytest.raises(SettingsError, match="line break"):
        mirror_config(site(files, "line", lines, SECRET + "\n"), site(files, "centre", PLAIN), "inspection")


@pytest.mark.parametrize(("line", "centre"), [("a", "a"), ("a.b", "c"), ("a", ""), ("a\n", "b"), ("a->b", "c")])
def test_names_that_make_no_topics_are_refused(files: Path, line: str, centre: str) -> None:
    path = site(files, "any", PLAIN).client_file
    with pytest.raises(SettingsError):
        mirror_config(MirrorSite(line, path), MirrorSite(centre, path), "inspection")


def test_the_command_prints_the_file(files: Path) -> None:
    paths = [str(site(files, name, lines).client_file) for name, lines in (("line", SCRAM), ("centre", PLAIN))]
    command = ["topics", "mirror-config", "--line", paths[0], "--centre", paths[1], "--prefix", "press"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert done.stdout == mirror_config(
        *(MirrorSite(name, Path(path)) for name, path in zip(("line", "centre"), paths, strict=True)), "press"
    )
    missing = CliRunner().invoke(app, [*command[:2], "--line", "/none", "--centre", paths[1]])
    assert isinstance(missing.exception, InspectionError)
    assert "/none: No such file" in str(missing.exception)
