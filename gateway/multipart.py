"""Multipart bodies (RFC 7578) that are in memory already."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.problems import Problem

#: Most parts of a body. The parser itself bounds the headers of a part.
MOST_PARTS = 128


@dataclass(frozen=True, slots=True)
class FormPart:
    """Part of a form: its name, content type (empty if it has none), and data."""

    name: str
    content_type: str
    data: bytes


@dataclass(slots=True)
class _Open:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    data: bytearray = field(default_factory=bytearray)


class _Parts:
    """Receiver of the parser's calls."""

    def __init__(self) -> None:
        self.parts: list[FormPart] = []
        self.is_complete = False
        self._open = _Open()

    def on_part_begin(self) -> None:
        if len(self.parts) >= MOST_PARTS:
            raise Problem("bad-request", f"the form has more than {MOST_PARTS} parts")
        self._open = _Open()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._open.name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._open.value += data[start:end]

    def on_header_end(self) -> None:
        self._open.headers[bytes(self._open.name).lower()] = bytes(self._open.value)
        self._open.name.clear()
        self._open.value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._open.data += data[start:end]

    def on_part_end(self) -> None:
        kind, options = parse_options_header(self._open.headers.get(b"content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise Problem("bad-request", "a part of the form has no Content-Disposition: form-data with a name")
        content_type = self._open.headers.get(b"content-type", b"").decode("latin-1")
        self.parts.append(FormPart(_text(name, "a name"), content_type, bytes(self._open.data)))
        self._open = _Open()

    def on_end(self) -> None:
        self.is_complete = True


def parse_form(content_type: str, body: bytes) -> list[FormPart]:
    r"""Return the parts of a ``multipart/form-data`` body, in order.

    Raises
    ------
    Problem
        ``bad-request`` if the body is not such a form, or ends early.

    Examples
    --------
    >>> body = b'--b\r\nContent-Disposition: form-data; name="lot"\r\n\r\nL7\r\n--b--\r\n'
    >>> parse_form("multipart/form-data; boundary=b", body)
    [FormPart(name='lot', content_type='', data=b'L7')]
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary or len(boundary) > 200:
        raise Problem("bad-request", "the header Content-Type of the form has no boundary")
    receiver = _Parts()
    names = [name for name in dir(receiver) if name.startswith("on_")]
    try:
        parser = MultipartParser(boundary, {name: getattr(receiver, name) for name in names})  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Problem("bad-request", f"the body is not a form: {error}") from None
    if not receiver.is_complete:
        raise Problem("bad-request", "the form ends early: its last boundary is missing")
    return receiver.parts


def text_of(part: FormPart) -> str:
    """Return the text of a field.

    Raises
    ------
    Problem
        ``bad-request`` if it is not UTF-8.
    """
    return _text(part.data, f"the field {part.name[:40]!r}")


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("bad-request", f"{what} of the form is not UTF-8") from None
