"""Mutated requests for a gateway: a seed and a number name each one, so a failure can be repeated."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.gateways import form, make_image
from tests.support.infer_requests import LENGTH_HEADER, binary_body, json_body

_IMAGES = [make_image(number) for number in range(4)]
_BASE64 = [base64.b64encode(image).decode() for image in _IMAGES]
_TOKENS = (
    b"\r\n", b"\r\n\r\n", b"--edge", b"--edge--", b"\0", b"\xff\xfe", b'"', b"\\", b"\\ud800", b"{", b"[" * 2000, b"}",
    b":", b",", b"NaN", b"1e999", b"-0", b"9" * 5000, b"name=", b'filename="../../x"', b"=?utf-8?q?x?=", b"%00",
    b"Content-Disposition: form-data", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"null", b"true",
)  # fmt: skip
_ODD_TEXTS = (
    "", " ", "0", "-1", "1e9", "nan", "inf", "\x00", "\u202e", "\ud800", "é", "🔩", "' OR 1=1 --", "<script>", "../..",
    "%s%n", "a" * 501, "a" * 20_000, '"', "{}", "[]", "null", "unknown", "P-77", "9" * 400,
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    *_ODD_TEXTS, None, True, False, 0, -1, 2**63, 10**400, 0.5, -0.0, 1e308, [], {}, [[]], [None], {"": ""},
    {"b64": 1}, {"image": None}, [[[[[[[[[[1]]]]]]]]]], ["a"] * 100,
)  # fmt: skip
_ODD_HEADERS = (
    b"", b" ", b'"', b'""', b'"a', b"a" * 256, b"a" * 5000, b"\xe9", b"\x01", b"a, b", b"a;b=c", b"=", b",,,", b"a\tb",
)  # fmt: skip
_PREFERENCES = (
    b"wait=0.5", b"wait=5", b"wait=60", b"wait=61", b"wait=1e3", b"wait=-1", b"wait=", b"wait", b"wait=0",
    b"wait=0.0001",
    b"wait=00000000001", b"wait=1.", b"wait=.5", b'wait="2"', b"WAIT=2", b"wait=2;a=b", b"wait=2, wait=3", b"wait = 2",
    b"respond-async", b"respond-async, wait=0", b"respond-async;x, wait=0.01", b"respond-async=1", b"handling=strict",
    b"return=minimal", b"wait=\xb2", b"wait=NaN", b"wait=0x10", b"wait=1_0",
)  # fmt: skip
_KEYS = (b"part-7", b'"part-7"', b'""', b'"', b"a b", b"\xc3\xa9", b"a/0", b"a" * 255, b"k" * 256, b"'", b"\x7f")
_LENGTHS = (b"0", b"-1", b"+5", b"5 ", b"1e2", b"9" * 30, b"0x10", b"\xb2", b"1, 2", b"")
#: Values above this size are not repeated many times, in characters.
_LARGE = 1000
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class HostileRequest:
    """Request as bytes; ``family`` names the mutated part."""

    family: str
    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    #: Longest time for an answer, in seconds, beside that of a loaded machine.
    wait_s: float = 5.0

    @property
    def is_foreign(self) -> bool:
        """True for a path of another server, whose errors have another form."""
        return self.target.startswith((b"/v2", b"/v1/models/"))

    @property
    def raw(self) -> bytes:
        """Bytes of the request."""
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target), b"Host: localhost"]
        lines += [b"%s: %s" % pair for pair in self.headers]
        lines += [b"Content-Length: %d" % len(self.body)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def mutated_bytes(random: Random, data: bytes) -> bytes:
    """Return the bytes with one to four changes."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed) + 1)
        length = random.choice((1, 1, 2, 8, 64, len(changed) // 2))
        match random.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = random.choice(_TOKENS)
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                del changed[at:]
            case _:
                changed[at:at] = random.randbytes(min(length, 64))
    return bytes(changed)


def mutated_json(random: Random, value: Any) -> Any:
    """Return the value with one to three changes: entries replaced, removed, renamed, added or nested."""
    root = {"": copy.deepcopy(value)}
    for _ in range(random.randint(1, 3)):
        places = list(_places(root))
        container, name = random.choice(places)
        match random.randrange(5):
            case 0 if name != "":
                del container[name]
            case 1 if isinstance(container, dict) and name != "":
                container[random.choice(_ODD_TEXTS)] = container.pop(name)
            case 2 if isinstance(container[name], dict):
                entry = random.choice(("", "b64", "image", "extra", "deadline_ms"))
                container[name][entry] = copy.deepcopy(random.choice(_ODD_VALUES))
            case 3:
                many = 65 if len(repr(container[name])) < _LARGE else 2
                container[name] = [container[name]] * random.choice((1, 2, many))
            case _:
                container[name] = copy.deepcopy(random.choice(_ODD_VALUES))
    return root[""]


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found += [(value, name), *_places(inner)]
    return found


def _dump(random: Random, value: Any) -> bytes:
    """Return JSON text; one in four is mutated as bytes, too."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.8).encode("utf-8", "surrogatepass")
    return mutated_bytes(random, text) if random.random() < 0.25 else text


def _post(family: str, target: str, kind: str | bytes, body: bytes, *headers: tuple[bytes, bytes]) -> HostileRequest:
    content_type = kind if isinstance(kind, bytes) else kind.encode()
    return HostileRequest(family, b"POST", target.encode(), [(b"Content-Type", content_type), *headers], body)


def _is_whole(random: Random) -> bool:
    """Return True for the one in ten that is not mutated."""
    return random.random() < 0.1


def _form(random: Random) -> HostileRequest:
    fields = {"part_id": b"P-7", "lot": b"L-3", "attributes": b'{"shift": "2"}', "deadline_ms": b"5000"}
    parts = [("file", random.choice(_IMAGES)), *random.sample(sorted(fields.items()), random.randrange(4))]
    body, kind = form(*parts)
    content_type = kind.encode()
    if not _is_whole(random):
        if random.random() < 0.3:
            content_type = mutated_bytes(random, content_type).translate(None, b"\r\n\0")
        elif random.random() < 0.3:  # the fields alone: the image stays whole
            odd = [(name, random.choice(_ODD_TEXTS).encode("utf-8", "surrogatepass")) for name, _ in parts[1:]]
            body, _ = form(parts[0], *odd, *[("file", b"")] * random.choice((0, 0, 0, 1, 130)))
        else:
            body = mutated_bytes(random, body)
    return _post("form", "/v1/inspections", content_type, body)


def _form_batch(random: Random) -> HostileRequest:
    body, kind = form(*(("file", random.choice(_IMAGES)) for _ in range(random.choice((1, 2, 3)))), ("lot", b"L-3"))
    key = (b"Idempotency-Key", b"form-%d" % random.randrange(50))
    body = body if _is_whole(random) else mutated_bytes(random, body)
    return _post("batch of files", "/v1/inspections:batch", kind, body, *[key][: random.randrange(2)])


def _lines(random: Random) -> HostileRequest:
    lines = []
    for _ in range(random.choice((1, 1, 2, 3))):
        value: Any = {
            "image": random.choice(_BASE64), "part_id": "P-7", "lot": "L", "deadline_ms": 5000,
            "attributes": {"shift": "2"}, "idempotency_key": f"line-{random.randrange(50)}",
        }  # fmt: skip
        lines.append(_dump(random, value if _is_whole(random) else mutated_json(random, value)))
    return _post("batch of lines", "/v1/inspections:batch", "application/x-ndjson", b"\n".join(lines))


def _infer_json(random: Random) -> HostileRequest:
    value = json.loads(
        json_body(
            *random.choices(_IMAGES, k=random.choice((1, 1, 2))), id="request-7",
            parameters={"lot": "L", "attributes": '{"shift": "2"}', "deadline_ms": 5000, "timeout": 5_000_000},
            outputs=[{"name": "action"}, {"name": "score", "parameters": {"binary_data": True}}],
        )
    )  # fmt: skip
    body = _dump(random, value) if _is_whole(random) else _dump(random, mutated_json(random, value))
    return _post("infer", "/v2/models/inspection/infer", "application/json", body)


def _infer_binary(random: Random) -> HostileRequest:
    images = random.choices(_IMAGES, k=random.choice((1, 1, 2)))
    body, length = binary_body(*images, parameters={"binary_data_output": random.random() < 0.5})
    header = length.encode()
    if not _is_whole(random):
        head, tail = body[: int(length)], body[int(length) :]
        match random.randrange(4):
            case 0:
                header = random.choice((*_LENGTHS, b"%d" % (int(length) + random.randint(-3, 3)), b"%d" % len(body)))
            case 1:  # the lengths of elements, and the bytes
                body = head + mutated_bytes(random, tail[: random.choice((4, 8, len(tail)))])
            case 2:
                changed = _dump(random, mutated_json(random, json.loads(head)))
                body, header = changed + tail, b"%d" % len(changed)
            case _:
                body = mutated_bytes(random, body)
    return _post(
        "infer, binary", "/v2/models/inspection/versions/1/infer", "application/octet-stream", body,
        (LENGTH_HEADER.encode(), header),
    )  # fmt: skip


def _predict(random: Random) -> HostileRequest:
    encoded = {"b64": random.choice(_BASE64)}
    value: Any = random.choice(
        (
            {"signature_name": "serving_default", "instances": [encoded]},
            {"instances": [{"image": encoded}, encoded]},
            {"inputs": {"image": [encoded, encoded]}},
            {"inputs": [encoded]},
        )
    )
    body = _dump(random, value if _is_whole(random) else mutated_json(random, value))
    return _post("predict", "/v1/models/inspection:predict", "application/json", body)


def _label(random: Random) -> HostileRequest:
    value: Any = {
        "truth": random.choice(("good", "defective")), "part_id": "P-7", "station": "press", "camera_id": "top",
        "labelled_by": "ann", "note": "n", "labelled_at_us": 1, "sampled_because": "random",
    }  # fmt: skip
    body = _dump(random, value if _is_whole(random) else mutated_json(random, value))
    return _post("label", "/v1/labels", "application/json", body)


def _headers(random: Random) -> HostileRequest:
    names = {
        b"Prefer": _PREFERENCES, b"Idempotency-Key": _KEYS, b"X-Deadline-Ms": _LENGTHS,
        LENGTH_HEADER.encode(): _LENGTHS,
        b"Content-Type": (b"image/png", b"multipart/form-data", b"image/png; charset=x", b"IMAGE/PNG"),
        b"Content-Encoding": (b"gzip", b"identity", b"br, gzip"), b"Authorization": (b"Bearer x", b"Basic eA=="),
        b"traceparent": (b"00-0-0-0",), b"Accept": (b"text/html",), b"Expect": (b"100-continue", b"x"),
    }  # fmt: skip
    headers: Headers = []
    for _ in range(random.randint(1, 3)):
        name = random.choice((b"Prefer", b"Idempotency-Key", *names))
        value = random.choice(names[name] if random.random() < 0.7 else _ODD_HEADERS)
        headers.append((name, mutated_bytes(random, value).translate(None, b"\r\n") if _is_whole(random) else value))
    target, body = random.choice(
        (
            (b"/v1/inspections", random.choice(_IMAGES)),
            (b"/v2/models/inspection/infer", json_body(random.choice(_IMAGES))),
            (b"/v1/models/inspection:predict", json.dumps({"instances": [{"b64": _BASE64[0]}]}).encode()),
            (b"/v1/inspections:batch", json.dumps({"image": _BASE64[1]}).encode()),
        )
    )
    if not any(name == b"Content-Type" for name, _ in headers):
        kind = b"application/x-ndjson" if target.endswith(b"batch") else b"application/octet-stream"
        headers.append((b"Content-Type", kind))
    return HostileRequest("headers", b"POST", target, headers, body, wait_s=60.0)


def _query(random: Random) -> HostileRequest:
    texts = [text.encode("utf-8", "surrogatepass") for text in _ODD_TEXTS if len(text) < 5000]
    names = (b"part_id", b"lot", b"station", b"attributes", b"deadline_ms", b"wait", b"unknown", b"")
    pairs = [
        b"%s=%s" % (random.choice(names), b"".join(b"%%%02x" % byte for byte in random.choice(texts)))
        for _ in range(random.randint(1, 3))
    ]
    tail = random.choice((b"&", b"?", b";")).join(pairs)
    paths = (b"/v1/inspections", b"/v1/decisions", b"/v1/inspections/http.a.1.0", b"/v1/inspections/%00%ff", b"/v2/x")
    path = random.choice(paths)
    if path == b"/v1/inspections":
        headers: Headers = [(b"Content-Type", b"image/png")]
        return HostileRequest("query", b"POST", path + b"?" + tail, headers, random.choice(_IMAGES))
    return HostileRequest("query", b"GET", path + b"?" + tail, [], b"", wait_s=60.0)


def _image(random: Random) -> HostileRequest:
    data = random.choice(_IMAGES)
    body = data if _is_whole(random) else mutated_bytes(random, data)
    return _post("image", "/v1/inspections", "image/png", body)


_FAMILIES: tuple[Callable[[Random], HostileRequest], ...] = (
    _form, _form_batch, _lines, _infer_json, _infer_binary, _predict, _headers, _query, _image,
)  # fmt: skip


def hostile_request(seed: int, number: int) -> HostileRequest:
    """Return a request by its number. Labels are rare: each one is published by a client of Kafka of its own."""
    random = Random(f"{seed} {number}")
    return _label(random) if number % 40 == 0 else random.choice(_FAMILIES)(random)
