"""Image and fields of a request, from its body, its form or its query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.clients import Client
from gateway.json_body import read_json
from gateway.multipart import FormPart, text_of
from gateway.problems import Problem
from models.errors import ImageError
from models.image_header import read_header
from models.image_limits import check_pixels
from producers.encoding import EncodedImage
from schemas.part_ids import real_part_id
from schemas.records import Encoding

#: Fields of a request beside the image.
FIELDS = ("part_id", "lot", "station", "attributes", "deadline_ms")
#: Content types of a body that is an image. The first bytes decide which one it is.
IMAGE_TYPES = (
    "image/jpeg", "image/png", "image/tiff", "image/bmp", "image/x-ms-bmp", "application/octet-stream",
)  # fmt: skip
FORM_TYPE = "multipart/form-data"
_FORMATS = "JPEG, PNG, TIFF and BMP"
_MOST_TEXT = 500
_MOST_ATTRIBUTES, _MOST_ATTRIBUTE_BYTES = 64, 16 * 1024


@dataclass(frozen=True, slots=True)
class ImageFields:
    """Fields of a request; ``deadline_ms`` is still a text."""

    part_id: str | None = None
    lot: str | None = None
    station: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    deadline_ms: str | None = None


NO_FIELDS = ImageFields()


def content_kind(content_type: str | None) -> str:
    """Return the media type of a body, without its parameters.

    Raises
    ------
    Problem
        ``not-an-image`` if it is neither an image nor a form.
    """
    kind = (content_type or "application/octet-stream").partition(";")[0].strip().lower()
    if kind not in IMAGE_TYPES and kind != FORM_TYPE:
        raise Problem(
            "not-an-image",
            f"Content-Type {kind[:60]!r}: say image/jpeg, image/png, image/tiff, image/bmp, application/octet-stream, "
            f"or {FORM_TYPE}",
        )
    return kind


def fields_of(pairs: Iterable[tuple[str, str]]) -> ImageFields:
    """Return the fields of a query or a form.

    Raises
    ------
    Problem
        ``bad-request`` if a field is unknown, given twice, or not valid.

    Examples
    --------
    >>> fields_of([("part_id", "P-77"), ("attributes", '{"shift": "2"}')]).attributes
    {'shift': '2'}
    """
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name not in FIELDS:
            raise Problem("bad-request", f"the field {name[:40]!r} is unknown; the fields are {', '.join(FIELDS)}")
        if name in found:
            raise Problem("bad-request", f"the field {name} is given twice")
        if name == "attributes":
            found[name] = _attributes(text)
            continue
        if len(text) > _MOST_TEXT or any("\ud800" <= sign <= "\udfff" for sign in text):
            raise Problem("bad-request", f"{name}: more than {_MOST_TEXT} characters, or not UTF-8")
        found[name] = text
    if "part_id" in found:
        found["part_id"] = real_part_id(found["part_id"])
    return ImageFields(**found)


def with_fields(fields: ImageFields, pairs: Iterable[tuple[str, str]]) -> ImageFields:
    """Return the fields with those of the pairs in their place.

    Raises
    ------
    Problem
        See `fields_of`.
    """
    pairs = list(pairs)
    found = fields_of(pairs)
    return replace(fields, **{name: getattr(found, name) for name, _ in pairs})


def form_fields(parts: Iterable[FormPart], query: ImageFields = NO_FIELDS) -> tuple[bytes, ImageFields]:
    """Return the image and the fields of a form; a field that it does not have is that of the query.

    Raises
    ------
    Problem
        ``bad-request`` if there is not exactly one part ``file``, or if a field is not valid.
    """
    files = [part for part in parts if part.name == "file"]
    if len(files) != 1:
        raise Problem("bad-request", f"the form has {len(files)} parts named 'file'; it needs one, the image")
    pairs = [(part.name, text_of(part)) for part in parts if part.name != "file"]
    return files[0].data, with_fields(query, pairs)


def attributes_of(found: object) -> dict[str, str]:
    """Return attributes from a JSON value.

    Raises
    ------
    Problem
        ``bad-request`` if it is not an object of texts, or too large.
    """
    if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
        raise Problem("bad-request", 'attributes: a JSON object of texts, such as {"shift": "2"}')
    texts = {str(name): str(value) for name, value in found.items()}
    size = sum(len(name) + len(value) for name, value in texts.items())
    if len(texts) > _MOST_ATTRIBUTES or size > _MOST_ATTRIBUTE_BYTES:
        raise Problem(
            "bad-request", f"attributes: at most {_MOST_ATTRIBUTES}, with {_MOST_ATTRIBUTE_BYTES} characters together"
        )
    if any("\ud800" <= sign <= "\udfff" for text in (*texts, *texts.values()) for sign in text):
        raise Problem("bad-request", "attributes: characters that UTF-8 does not have")
    return texts


def _attributes(text: str) -> dict[str, str]:
    try:
        found = read_json(text[: 8 * _MOST_ATTRIBUTE_BYTES].encode())
    except ValueError:
        raise Problem("bad-request", 'attributes: a JSON object of texts, such as {"shift": "2"}') from None
    return attributes_of(found)


def image_of(data: bytes) -> EncodedImage:
    """Return the image with format and size from its first bytes; nothing is decoded.

    Raises
    ------
    Problem
        ``not-an-image``, or ``image-unreadable`` if it has too many pixels.
    """
    header = read_header(data)
    if header.encoding is Encoding.OTHER:
        raise Problem(
            "not-an-image",
            f"the first of the {len(data)} bytes are not those of {_FORMATS}" if data else "the image has no bytes",
        )
    try:
        check_pixels(header.width, header.height)
    except ImageError as error:
        raise Problem("image-unreadable", str(error)) from None
    return EncodedImage(data, header.encoding, header.width, header.height)


def station_of(client: Client, named: str | None, default: str) -> str:
    """Return the station of a request.

    Raises
    ------
    Problem
        ``bad-request`` if it is not a name, ``forbidden`` if the client may not use it.
    """
    station = default if named is None else named
    if named is not None and (
        not 0 < len(named) <= 40 or not all(c.isascii() and (c.isalnum() or c in "_-") for c in named)
    ):
        raise Problem("bad-request", f"station {named[:40]!r}: 1 to 40 letters, digits, '_' or '-'")
    if station != default and not client.may_use(station):
        raise Problem("forbidden", f"the token of {client.name} is not for the station {station}")
    return station
