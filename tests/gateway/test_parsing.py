"""Headers and forms of any content: they are parsed, or refused as a problem."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.batch import _line_items
from gateway.bodies import declared_size
from gateway.clients import Clients
from gateway.foreign.open_inference import InferRequest, read_infer_request
from gateway.foreign.tensorflow_serving import PredictRequest, read_predict_request
from gateway.image_request import FIELDS, content_kind, fields_of, form_fields, image_of
from gateway.keys import item_key, parse_key
from gateway.multipart import MOST_PARTS, FormPart, parse_form
from gateway.preferences import Patience, patience_of, wait_of
from gateway.problems import Problem
from gateway.query import query_items
from producers.encoding import EncodedImage
from tests.support.gateways import form
from tests.support.infer_requests import binary_body, json_body

T = TypeVar("T")
STARTS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*"]
#: Headers arrive as Latin-1.
LATIN = st.text(st.characters(max_codepoint=255), max_size=60)


def outcome(parse: Callable[[], T]) -> T | int:
    """Return the result, or the status of the problem."""
    try:
        return parse()
    except Problem as problem:
        return problem.status


@given(st.binary(max_size=2000), LATIN)
def test_any_body_is_a_form_or_a_problem(body: bytes, content_type: str) -> None:
    for kind in (content_type, "multipart/form-data; boundary=edge"):
        found = outcome(lambda kind=kind: parse_form(kind, body))
        assert found == 400 or (isinstance(found, list) and all(isinstance(part, FormPart) for part in found))


@given(st.lists(st.binary(max_size=200).filter(lambda data: b"--edge" not in data), max_size=5))
def test_a_form_has_its_parts_byte_for_byte(images: list[bytes]) -> None:
    body, kind = form(*(("file", data) for data in images))
    if images:
        assert [part.data for part in parse_form(kind, body)] == images


@given(st.binary(min_size=1, max_size=300).filter(lambda data: b"--edge" not in data), st.data())
def test_a_form_that_is_cut_is_refused(image: bytes, data: st.DataObject) -> None:
    body, kind = form(("file", image), ("lot", b"L7"))
    cut = data.draw(st.integers(0, len(body) - len(b"\r\n") - 1))
    with pytest.raises(Problem):
        form_fields(parse_form(kind, body[:cut]))


def test_a_form_of_many_parts_is_refused() -> None:
    with pytest.raises(Problem, match="parts"):
        parse_form(*reversed(form(*[("file", b"")] * (MOST_PARTS + 1))))
    long = b'--edge\r\nContent-Disposition: form-data; name="' + b"x" * 20_000 + b'"\r\n\r\n\r\n--edge--\r\n'
    with pytest.raises(Problem, match="not a form"):
        parse_form("multipart/form-data; boundary=edge", long)


@given(st.lists(st.text(max_size=40), max_size=3), st.lists(st.text(max_size=12), max_size=2))
def test_any_preference_is_a_wait_or_a_problem(prefer: list[str], deadlines: list[str]) -> None:
    found = outcome(lambda: patience_of(prefer, deadlines, 10.0, 60.0))
    assert isinstance(found, Patience) or found == 400
    if isinstance(found, Patience):
        assert 0 <= found.wait_s <= 60
        assert found.deadline_ms is None or found.deadline_ms >= 1
        assert found.responds_async or found.wait_s > 0


@given(st.text(max_size=20), st.integers(0, 63))
def test_no_client_can_state_the_key_of_an_image_in_a_batch(key: str, number: int) -> None:
    """A batch with the key ``lot-7`` would otherwise take the key of the request ``lot-7/0``."""
    assert outcome(lambda: parse_key(item_key(key, number))) == 400


@given(st.text(max_size=300), st.lists(st.tuples(st.text(max_size=12), st.text(max_size=700)), max_size=3))
def test_any_header_and_field_is_read_or_a_problem(text: str, pairs: list[tuple[str, str]]) -> None:
    named = [(["part_id", "lot", "attributes", "deadline_ms"][len(name) % 4], value) for name, value in pairs]
    for parse in (
        lambda: parse_key(text),
        lambda: content_kind(text),
        lambda: wait_of(text, 60.0),
        lambda: fields_of(pairs),
        lambda: fields_of(named),
        lambda: Clients({"0" * 64: Clients().of(None)}).of(text),
    ):
        found = outcome(parse)
        assert not isinstance(found, int) or found in (400, 401, 415)


@given(
    st.binary(max_size=100), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*"])
)
def test_any_image_is_taken_by_its_header_or_a_problem(data: bytes, start: bytes) -> None:
    found = outcome(lambda: image_of(start + data))
    assert found in (415, 422) or (isinstance(found, EncodedImage) and found.width > 0)


NAMES = (
    "inputs", "instances", "outputs", "parameters", "name", "datatype", "shape", "data", "image", "b64", "id",
    "signature_name", "binary_data_size", "timeout", "deadline_ms", "binary_data_output",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("/9j/"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner),
    max_leaves=12,
)


@given(JSON, st.binary(max_size=40), st.none() | st.integers(0, 60).map(str) | LATIN)
def test_any_request_of_other_clients_is_read_or_a_problem(value: object, tail: bytes, length: str | None) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": value, "data": value, "parameters": value}
    for asked in (value, {"inputs": value}, {"inputs": [tensor], "parameters": value, "outputs": value}):
        head = json.dumps(asked).encode()
        for body, header in ((head, None), (head + tail, str(len(head))), (head + tail, length), (tail, length)):
            found = outcome(lambda body=body, header=header: read_infer_request(body, header))
            assert found == 400 or isinstance(found, InferRequest)
        for body in (head, tail, json.dumps({"instances": value}).encode(), b"[" * 5000):
            assert isinstance(outcome(lambda body=body: read_predict_request(body)), PredictRequest | int)


@given(st.fixed_dictionaries({"image": st.just("/9j/")}, optional=dict.fromkeys((*FIELDS, "idempotency_key"), JSON)))
@example({"image": "/9j/", "idempotency_key": 0})
@example({"image": "/9j/", "attributes": False})
def test_any_line_of_a_batch_is_read_or_a_problem(line: dict[str, object]) -> None:
    found = outcome(lambda: _line_items(json.dumps(line).encode()))
    if isinstance(found, int):
        assert found == 400
        return
    [item] = found
    stated = {name: value for name, value in line.items() if value is not None}
    assert item.key == stated.get("idempotency_key")
    assert item.fields.attributes == stated.get("attributes", {})


@pytest.mark.parametrize("length", ["0" * 5000, "9" * 5000, "\u00b2", "-1", "+1", "1_0", " 1"])
def test_a_length_that_is_no_number_of_bytes_is_refused(length: str) -> None:
    assert outcome(lambda: read_infer_request(b"{}", length)) == 400
    headers = [(b"content-length", length.encode("latin-1"))]
    assert outcome(lambda: declared_size(Request({"type": "http", "headers": headers}), 100)) == 413


def test_a_whole_number_of_a_request_may_have_a_point() -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1.0], "data": ["/9j/"]}
    parameters = {"deadline_ms": 800.0, "timeout": 2e6}
    asked = read_infer_request(json.dumps({"inputs": [tensor], "parameters": parameters}).encode(), None)
    assert (asked.fields.deadline_ms, asked.wait_s) == ("800", 2.0)
    for timeout in (1.5, float("nan"), float("inf")):
        body = json.dumps({"inputs": [tensor], "parameters": {"timeout": timeout}}).encode()
        assert outcome(lambda body=body: read_infer_request(body, None)) == 400


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_images_of_other_clients_arrive_byte_for_byte(images: list[bytes]) -> None:
    assert list(read_infer_request(json_body(*images), None).images) == images
    assert list(read_infer_request(*binary_body(*images)).images) == images


@pytest.mark.parametrize("values", [b"{}", b"0", b"[]"])
def test_a_request_of_many_values_is_refused_before_it_is_parsed(values: bytes) -> None:
    """A value takes up to a hundred times its text in memory."""
    many = b",".join([values] * 200_000)
    image = b'{"name": "image", "datatype": "BYTES", "shape": [1], "data": ['
    tracemalloc.start()
    try:
        for parse in (
            lambda: read_predict_request(b'{"instances": [' + many + b"]}"),
            lambda: read_infer_request(b'{"inputs": [' + image + many + b"]}]}", None),
            lambda: _line_items(b'{"image": [' + many + b"]}"),
            lambda: _line_items(b"\n" * 200_000),
            lambda: _line_items(b"{}\n" * 200),
        ):
            assert outcome(parse) == 400
        assert tracemalloc.get_traced_memory()[1] < 4 * len(many) + 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("query", [b"part_id=Gr%FCn", b"part_id=Gr\xfcn", b"%FC=1", b"&".join([b"lot=1"] * 101)])
def test_a_query_that_is_not_utf8_is_refused(query: bytes) -> None:
    """Otherwise two parts would have one id."""
    assert outcome(lambda: query_items(Request({"type": "http", "query_string": query}))) == 400
