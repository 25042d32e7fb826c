"""Masking of addresses: passwords, keys and tokens stay out of errors, logs, labels, `repr` and JSON.

A secret may stand in any part of an address: user and password (``rtsp://admin:pa/ss@10.0.0.5/s``, also with ``/``,
``@`` or ``,`` without escapes), the query (``?token=...``), or the path (``/user=admin&password=...``, and the whole
path of a webhook). So only scheme and host are shown. If the host is not certain, because it could be a part of a
password, the host is hidden too. In a text without an address, what follows a name such as ``password=`` is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

from schemas.known_secrets import without_secrets

#: Text in place of hidden parts.
HIDDEN = "***"
#: Text in place of a message of a library that quotes a part of an address.
NO_DETAILS = "the details are not shown: they hold a part of the address"
#: Shortest piece of a secret that makes a text of a library hidden.
_PIECE = 3
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?)(?::\d{1,5})?")
#: Chained as in fsspec (``simplecache::s3``), or behind the kind of a camera (``video:rtsp``).
_SCHEME = re.compile(r"(?:[A-Za-z0-9+.-]+::|video:)*[A-Za-z][A-Za-z0-9+.-]*")
#: Mark before the host of an address in a text: ``scheme:/``, ``scheme://``, a ``//`` that begins a word, or the same
#: with backslashes, as typed on Windows.
_MARK = re.compile(r":[/\\]{1,2}|(?<![^\s'\"<>=(,;|\[{])//")
_SCHEME_BEFORE = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*\Z")
_BEHIND = re.compile(r"[^\s'\"<>]+")
#: Longest scheme that the search in a text looks for, in characters. The limit keeps the search linear in the length
#: of the text.
_LONGEST_SCHEME = 64
#: User and the beginning of a password, which no port can be: ``user:pass``.
_USER = re.compile(r"[^\s'\"<>@/:,\[\]]+:(?!\d{1,5}(?:[\s'\"<>/?#,;:.)\]}]|\Z))[^\s/?#@]")
#: Longest rest of a password behind a blank or a quote, in characters.
_LONGEST_PASSWORD = 100
#: Address without a scheme: ``user:password@host``.
_USER_ONLY = re.compile(r"(^|[\s'\"<>=(,;|\[{])([^\s'\"<>=(,;|\[{:@/\\]{1,64}:[^\s'\"<>@/\\]{1,256}@[^\s'\"<>@]+)")
#: Segment of a path that looks like a token of a webhook: letters and digits, 20 or more.
_TOKEN = re.compile(r"/(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
#: Characters of the sentence around an address.
_AFTER = ".,;:!?)]}"
#: Characters that only a part with a secret brings: a user, a query, a fragment.
_SECRET_IN_TEXT = re.compile("[@?&=#]")
#: Mistyped address, with one slash too few or without a scheme. No library accepts it.
_NEARLY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.:-]+:/|//)(?=[^/])")
_SECRET = re.compile("[@&=]")
#: Secret behind its name, as in the query of a camera, the settings of a library or a connection string:
#: ``password=...``, ``"sasl.password": "..."``.
_NAMED = re.compile(
    r"((?:passw(?:or)?d|passphrase|pwd|user-pw|secret[\w.-]{0,30}|token|(?:api|access|account)[_.-]?key|authorization)"
    r"['\"]?\s{0,3}[=:]\s{0,3}(?:(?:Basic|Bearer|Digest)\s)?|\bBearer\s)"
    r"(?!\*\*\*)(?:'[^']*'|\"[^\"]*\"|[^\s'\"&;,)\]}]+)",
    re.IGNORECASE,
)


def masked_address(address: str, *, with_path: bool = False) -> str:
    """Return scheme and host of an address; several addresses are separated by commas.

    Parameters
    ----------
    with_path
        Also show the path, for a store: ``s3://bucket/path``. The path stays hidden if a secret could be part of it: if
        the address has an ``@`` or a query.

    Examples
    --------
    >>> masked_address("rtsp://10.0.0.5:554/user=admin&password=SECRET&channel=1.sdp")
    'rtsp://10.0.0.5:554/***'
    >>> masked_address("rtsp://admin:pa/ss@10.0.0.5/s"), masked_address("http://u:p@a:81,http://u:p@b:81")
    ('rtsp://10.0.0.5/***', 'http://a:81,http://b:81')
    >>> masked_address("https://a.plant/x@y"), masked_address("s3://bucket/images", with_path=True)
    ('https://***', 's3://bucket/images')
    >>> masked_address("rtsp:/10.0.0.5/user=admin&password=SECRET"), masked_address("//admin:pw@10.0.0.5/x")
    ('rtsp:/***', '//***')
    >>> masked_address("127.0.0.1:9092"), masked_address("/srv/images"), masked_address("admin:x@10.0.0.5")
    ('127.0.0.1:9092', '/srv/images', '10.0.0.5')
    >>> masked_address("ip=10.0.0.5;password=SECRET")
    'ip=10.0.0.5;password=***'
    """
    scheme, found, rest = address.partition("://")
    if found and f",{scheme}://" in rest:
        parts = rest.split(f",{scheme}://")
        return ",".join(masked_address(f"{scheme}://{part}", with_path=with_path) for part in parts)
    if not found:
        nearly = _NEARLY.match(address)
        if nearly is not None and _SECRET.search(address, nearly.end()):
            return f"{nearly[0]}{HIDDEN}"
        has_user = "@" in address and ":" in address.partition("@")[0] and not address.startswith((".", "/", "~"))
        return _host(address.rpartition("@")[2]) if has_user else _NAMED.sub(rf"\1{HIDDEN}", address)
    if not _SCHEME.fullmatch(scheme):
        return HIDDEN
    if scheme in ("file", "local", "memory"):
        # A text with a host or a password is not a path.
        return address if rest.startswith("/") or not _SECRET.search(rest) else f"{scheme}://{HIDDEN}"
    pieces = re.split(r"[/?#]", rest)
    with_user = [number for number, piece in enumerate(pieces) if "@" in piece]
    if not with_user:
        host, behind = pieces[0], rest[len(pieces[0]) :]
    elif len(with_user) > 1 or (with_user[0] and _is_host(pieces[0])):
        # A password may contain any of these characters, so it is not certain which part is the host.
        return f"{scheme}://{HIDDEN}"
    else:
        host = pieces[with_user[0]].rpartition("@")[2]
        behind = rest[rest.rindex("@") + 1 + len(host) :]
    shown = f"{scheme}://{_host(host)}"
    if behind in ("", "/") or shown.endswith(HIDDEN):
        return shown
    return (
        f"{shown}{behind}" if with_path and not with_user and not re.search("[?#&=]", behind) else f"{shown}/{HIDDEN}"
    )


def masked_text(text: str, *addresses: str | None, with_path: bool = False) -> str:
    """Return a text, such as the message of a library, with the addresses and named secrets in it masked.

    Secrets that this process was given are masked wherever they stand, see `schemas.known_secrets`.

    Parameters
    ----------
    addresses
        Addresses with secrets. A text that still contains a piece of such a secret is replaced as a whole, because
        libraries quote, cut and decode addresses.
    with_path
        The paths of these addresses are not secret, as in `masked_address`.

    Examples
    --------
    >>> masked_text("no answer from http://u:secret@a:81/x", "http://u:secret@a:81/x")
    'no answer from http://a:81/***'
    >>> masked_text("port 'secr' is no number", "http://u:secr/et@a:81")
    'the details are not shown: they hold a part of the address'
    """
    secrets = [address for address in addresses if address and masked_address(address, with_path=with_path) != address]
    for address in secrets:
        text = text.replace(address, masked_address(address))
    text = _NAMED.sub(rf"\1{HIDDEN}", "".join(_masked_pieces(without_secrets(text))))
    for address in secrets:
        if _has_a_piece(text.replace(masked_address(address), ""), address):
            return NO_DETAILS
    return text


def masked_repr(settings: Any, *names: str) -> str:
    """Return the `repr` of a dataclass whose fields with these names are addresses.

    Fields made with ``repr=False`` are left out.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(repr=False)
    ... class Registry:
    ...     url: str
    ...     timeout_s: float
    ...     __repr__ = lambda self: masked_repr(self, "url")
    >>> Registry("http://u:secret@a:81", 5.0)
    Registry(url='http://a:81', timeout_s=5.0)
    """
    from dataclasses import fields

    texts = []
    for field in fields(settings):
        if not field.repr:
            continue
        value = getattr(settings, field.name)
        if field.name in names and isinstance(value, str):
            value = masked_address(value)
        texts.append(f"{field.name}={value!r}")
    return f"{type(settings).__qualname__}({', '.join(texts)})"


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _host(text: str) -> str:
    return text if _is_host(text) or not text else HIDDEN


def _masked_pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces, with each address in it masked. The time is linear in the length of the text."""
    done = at = 0
    while (mark := _MARK.search(text, at)) is not None:
        at, begin = mark.end(), mark.start()
        scheme = _SCHEME_BEFORE.search(text[max(done, begin - _LONGEST_SCHEME) : begin])
        if scheme is None and mark[0][0] == ":":
            continue
        end = _end_of_address(text, at)
        if end == at:
            continue
        begin -= 0 if scheme is None or mark[0] == "//" else len(scheme[0])
        yield _USER_ONLY.sub(_masked_user, text[done:begin])
        yield _masked_match(text[begin:end])
        done = at = end
    yield _USER_ONLY.sub(_masked_user, text[done:])


def _end_of_address(text: str, at: int) -> int:
    """Return the end of the address whose host or user begins at ``at``.

    An address ends at a blank or a quote. A password may contain these, so what looks like a user and a password
    extends to the next ``@``.
    """
    behind = _BEHIND.match(text, at)
    end = at if behind is None else behind.end()
    if "@" in text[at:end] or not _USER.match(text, at):
        return end
    found = text.find("@", end, end + _LONGEST_PASSWORD)
    if found < 0:
        return end
    behind = _BEHIND.match(text, found)
    return found if behind is None else behind.end()


def _masked_user(found: re.Match[str]) -> str:
    address = found[2].rstrip(_AFTER)
    return f"{found[1]}{masked_address(address)}{found[2][len(address) :]}"


def _masked_match(found: str) -> str:
    """Mask an address in a text if the address can contain a secret; the sentence around it stays."""
    end = len(found.rstrip(_AFTER))
    address, after = found[:end], found[end:]
    if "\\" in address:
        address = address.replace("\\", "/")
    hides = _SECRET_IN_TEXT.search(address) or (address.startswith("http") and _TOKEN.search(address))
    return (masked_address(address) if hides else found[:end]) + after


def _has_a_piece(text: str, address: str) -> bool:
    """Return True if the text contains ``_PIECE`` characters of a part of the address that `masked_address` hides."""
    return any(piece in text for piece in _pieces(address))


def _pieces(address: str) -> Iterator[str]:
    shown = masked_address(address).rpartition("://")[2].removesuffix(f"/{HIDDEN}")
    scheme, _, rest = address.partition("://")
    rest = rest if rest and _SCHEME.fullmatch(scheme) else address
    for secret in rest.split(shown) if shown and shown != HIDDEN else [rest]:
        for form in {secret, unquote(secret), quote(secret), quote(secret, safe="")}:
            for at in range(len(form) - _PIECE + 1):
                yield form[at : at + _PIECE]
