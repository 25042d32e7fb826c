"""Masked addresses: no part of a secret is shown, wherever it stands and whatever a library reports."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.addresses import NO_DETAILS, masked_address, masked_repr, masked_text
from schemas.codec import Codec
from schemas.errors import RegistryError, SettingsError
from schemas.settings import KafkaSettings
from transport.logs import LONGEST_LINE, LineFormatter

FORMS = [
    "rtsp://admin:{}@10.0.0.5/s",
    "rtsp://admin:{}@10.0.0.5:554/s/1?x=2",
    "rtsp://10.0.0.5/user=admin&password={}&channel=1.sdp",
    "rtsp://10.0.0.5:554/live?user=admin&password={}",
    "https://hooks.plant/services/{}",
    "http://u:{}@a.plant:8081,http://u:{}@b.plant:8081",
    "s3://key:{}@bucket/images",
    "simplecache::s3://key:{}@bucket/images",
    "u:{}@10.0.0.5",
]
PASSWORDS = [
    "SECRET",
    "pa/ss",
    "p@ss",
    "pa,ss",
    "p?a#ss",
    "p@s/s@w,rd",
    "12/34",
    "s3cr%2Fet",
    "a b'c\"d",
    "gr\xfcn",
    "x://y",
]


def leaked(secret: str, shown: str, form: str) -> list[str]:
    """Return pieces of the secret that are shown, and are not shown with another secret or part of the address."""
    rest = form.replace("{}", "\0") + masked_address(form.replace("{}", "\0")) + NO_DETAILS
    pieces = {secret[at : at + 3] for at in range(len(secret) - 2)}
    return sorted(piece for piece in pieces if piece in shown and piece not in rest and piece != "***")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", PASSWORDS)
def test_no_piece_of_a_password_is_shown(form: str, secret: str) -> None:
    address = form.replace("{}", secret)
    assert leaked(secret, masked_address(address), form) == []
    assert leaked(secret, masked_address(address, with_path=not form.startswith("https")), form) == []
    message = f"error 7: cannot reach {address} (from {secret!r})"
    assert leaked(secret, masked_text(message, address), form) == []


@given(st.sampled_from(FORMS), st.text(min_size=3, max_size=20))
@example(FORMS[5], "/a.")  # the host stands behind two slashes
def test_no_piece_of_any_password_is_shown(form: str, secret: str) -> None:
    address = form.replace("{}", secret)
    assert leaked(secret, masked_address(address), form) == []
    assert leaked(secret, masked_text(f"bad port {secret[2:]} in {address}", address), form) == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:pa/ss@10.0.0.5/s", "rtsp://10.0.0.5/***"),
        ("rtsp://admin:p@ss@10.0.0.5/s", "rtsp://10.0.0.5/***"),
        ("http://user:a/b,c@d@registry:8081", "http://registry:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("rtsp://10.0.0.5", "rtsp://10.0.0.5"),
        ("rtsp://u:12/34@10.0.0.5", "rtsp://***"),
        ("mock://docs", "mock://docs"),
        ("k1:9092,k2:9092", "k1:9092,k2:9092"),
        ("/srv/a@b:c", "/srv/a@b:c"),
    ],
)
def test_the_host_is_shown_where_it_is_certain(address: str, shown: str) -> None:
    assert masked_address(address) == shown


def test_errors_and_settings_show_no_password() -> None:
    url = "http://user:pa/s,s@w@registry.plant:8081"
    error = RegistryError(url, f"Failed to parse: {url}, port 'pa'")
    assert "registry.plant:8081" in str(error)
    assert leaked("pa/s,s@w", str(error), url.replace("pa/s,s@w", "{}")) == []
    settings = KafkaSettings(schema_registry_url=url)
    assert "pa/s" not in repr(settings)
    assert "registry.plant:8081" in repr(settings)
    assert masked_repr(settings).count("pa/s") == 1, "the repr of other fields is as ever"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"open rtsp:\\u:SECRET@h now", "open rtsp://h now"),
        (r"open C:\images\a.png or rtsp:\\10.0.0.5\live", r"open C:\images\a.png or rtsp:\\10.0.0.5\live"),
        ("cannot open u:SECRET@h:80: refused", "cannot open h:80: refused"),
        ("('u:SECRET@h')", "('h')"),
        ("no answer from rtsp://u:my SECRET word@h/s: refused", "no answer from rtsp://h/***: refused"),
        ("no answer from rtsp://u:my\nSECRET@h/s", "no answer from rtsp://h/***"),
        ("rtsp://u:'SECRET'@h is refused", "rtsp://h is refused"),
        ("POST https://h/x#SECRET failed", "POST https://h/*** failed"),
        ("POST https://hooks.plant/services/T0/SECRET0123456789abcdef: 404", "POST https://hooks.plant/***: 404"),
        ("no answer from http://a:81/x, ask me@b", "no answer from http://a:81/x, ask me@b"),
        ("no answer from http://a:81 by me@b", "no answer from http://a:81 by me@b"),
        ("inspection.frames-0@17 of s3://images/ab/0123456789abcdef0123", None),
    ],
)  # fmt: skip
def test_a_text_hides_the_secrets_of_addresses_that_nobody_named(text: str, shown: str | None) -> None:
    """The logs mask whatever they are given: they do not know the addresses."""
    assert masked_text(text) == (text if shown is None else shown)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%s", (text,), None)
    assert "SECRET" not in LineFormatter("%(message)s").format(record)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 500_000, "a:" * 250_000, "a" * 500_000 + "://u:secret@h", " //" * 160_000, "a:/" * 160_000,
        "rtsp://h " * 50_000, "SECRET-" * 70_000, "password='" * 50_000, "rtsp://u:p " * 50_000, " u:p" * 125_000,
        "http://h" + "/a1" * 160_000,
    ],
    ids=[
        "letters", "colons", "a long scheme", "slashes", "schemes", "addresses", "names", "quotes",
        "passwords", "users", "segments",
    ],
)  # fmt: skip
def test_a_long_line_is_masked_in_linear_time(text: str) -> None:
    """A search that is quadratic in a word takes many minutes here."""
    began_s = time.process_time()
    assert "secret" not in masked_text(text)
    masked_address(text)
    assert time.process_time() - began_s < 30


def test_a_line_of_the_log_has_an_end() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%s rtsp://u:secret@h/", ("x" * 3_980,), None)
    line = LineFormatter("%(message)s").format(record)
    assert "secret" not in line
    assert len(line) <= LONGEST_LINE
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%s", ("x" * 10**6,), None)
    assert len(LineFormatter("%(message)s").format(record)) < LONGEST_LINE + 50
    try:
        raise ValueError("y" * 10**6 + "\n" + "z" * 10)
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    lines = LineFormatter("%(message)s").format(record).splitlines()
    assert max(map(len, lines)) < LONGEST_LINE + 50
    assert lines[-1].strip() == "z" * 10


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp:/10.0.0.5/user=admin&password=secret", "rtsp:/***"),
        ("video:rtsp:/u:secret@10.0.0.5", "video:rtsp:/***"),
        ("//admin:secret@host/x", "//***"),
        ("file://user:secret@host", "file://***"),
        ("file:///srv/part=1/x", "file:///srv/part=1/x"),
        ("C:/images/part=1", "C:/images/part=1"),
        ("rtsp:/10.0.0.5/live", "rtsp:/10.0.0.5/live"),
    ],
)
def test_an_address_that_is_typed_wrong_hides_its_secret(address: str, shown: str) -> None:
    assert masked_address(address) == shown
    for before, after in (("cannot open ", " now"), ("'", "'"), ("url=", "")):
        assert masked_text(f"{before}{address}{after}") == f"{before}{shown}{after}"
    record = logging.LogRecord("x", logging.ERROR, "", 0, "cannot open %r", (address,), None)
    assert LineFormatter("%(message)s").format(record) == f"cannot open {shown!r}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ip=10.0.0.5;user=u;password=SECRET;ssl=1", "ip=10.0.0.5;user=u;password=***;ssl=1"),
        ("{'sasl.username': 'u', 'sasl.password': 'a SECRET b'}", "{'sasl.username': 'u', 'sasl.password': ***}"),
        ("rtspsrc user-id=a user-pw=SECRET ! fakesink", "rtspsrc user-id=a user-pw=*** ! fakesink"),
        ("aws_secret_access_key = SECRET", "aws_secret_access_key = ***"),
        ("AccountKey=SECRET;Endpoint=x", "AccountKey=***;Endpoint=x"),
        ("headers: Authorization: Bearer SECRET", "headers: Authorization: Bearer ***"),
        ("rtsp:10.0.0.5/user=a&password=SECRET", "rtsp:10.0.0.5/user=a&password=***"),
        ("X-API-Key: SECRET", "X-API-Key: ***"),
        ("3 passes, a secretary, tokens and a keyboard: fine", None),
    ],
)
def test_a_secret_without_an_address_is_known_by_its_name(text: str, shown: str | None) -> None:
    assert masked_text(text) == (text if shown is None else shown)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%s", (text,), None)
    assert "SECRET" not in LineFormatter("%(message)s").format(record)
    if "headers" not in text:
        assert "SECRET" not in masked_address(text)


@pytest.mark.parametrize("servers", ["u:SECRET@k:9092", "k:9092,u:SECRET@k2:9092", "k:9092;sasl.password=SECRET"])
def test_bootstrap_servers_with_a_password_are_refused_unshown(servers: str) -> None:
    with pytest.raises(SettingsError, match="a user, a password") as caught:
        KafkaSettings(bootstrap_servers=servers)
    assert "SECRET" not in str(caught.value)


def test_libraries_that_log_whole_requests_stay_silent_with_verbose() -> None:
    script = (
        "import logging; from transport.logs import set_up_logging; set_up_logging(logging.DEBUG);"
        "names = 's3fs', 'botocore.auth', 'aiobotocore', 'urllib3', 'httpx2';"
        "[logging.getLogger(name).info('SECRET') for name in names];"
        "logging.getLogger('faust').debug('shown')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "SECRET" not in done.stderr
    assert "shown" in done.stderr


@pytest.mark.parametrize(
    "program", ["stream_processors.worker.trial", "transport.batch_trials.program", "transport.range_program"]
)
def test_the_traceback_of_a_child_process_shows_no_secret(program: str) -> None:
    """The child ends in an error whose text is what it was given."""
    given = b"(S'http://u:SECRET@h/x'\nI1\n" if program.endswith("trial") else b'["http://u:SECRET@h/x"]\n'
    script = (
        "import runpy, json, pickle\n"
        "def fail(text, *more):\n"
        "    raise ValueError(f'cannot read {text!r}')\n"
        "json.loads = pickle.loads = fail\n"
        f"runpy.run_module({program!r}, run_name='__main__')"
    )
    block = len(given).to_bytes(8, "big") + given if program.endswith("trial") else given
    done = subprocess.run([sys.executable, "-c", script], input=block, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"http://h/***" in done.stderr
    assert b"SECRET" not in done.stderr + done.stdout


def test_the_traceback_of_our_error_leaves_out_the_text_of_the_library() -> None:
    try:
        Codec.from_settings(KafkaSettings(schema_registry_url="http://127.0.0.1:SECRET"))
    except RegistryError as error:
        found = (RegistryError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "no schemas", (), found)
    line = LineFormatter("%(message)s").format(record)
    assert "schema registry at http://***" in line
    assert "Traceback" in line
    assert "port: 'SECRET'" not in line
    assert "base 10: 'SECRET'" not in line
