"""Target of a request in its absolute form: ``GET http://host/path``, which every server has to accept (RFC 9112)."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import Scope

#: Host without user, and path. The query is not a part of ``raw_path``.
_ABSOLUTE = re.compile(rb"https?://([^/@]+)(/.*)?", re.IGNORECASE | re.DOTALL)


def in_origin_form(scope: Scope) -> Scope:
    """Return the scope of a request in absolute form as if it had a path and a ``Host``; any other as it is.

    The host of the target counts, and not the header.

    Examples
    --------
    >>> found = in_origin_form({"raw_path": b"http://line:80/a%20b", "headers": [(b"host", b"other")]})
    >>> found["path"], found["headers"]
    ('/a b', [(b'host', b'line:80')])
    """
    found = _ABSOLUTE.fullmatch(scope.get("raw_path", b""))
    if found is None:
        return scope
    path = found[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    headers.append((b"host", found[1]))
    return {**scope, "path": unquote(path.decode("ascii")), "raw_path": path, "headers": headers}
