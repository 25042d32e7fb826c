"""Requests to this machine itself, without the proxy settings of the environment.

A variable such as ``http_proxy`` applies to other machines. A proxy cannot reach the loopback interface of the
machine that sends the request, so a health check through a proxy never succeeds.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import MutableMapping
from typing import Any

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def open_direct(url: str, timeout_s: float) -> Any:
    """Open a URL as `urllib.request.urlopen` does, but without a proxy.

    Raises
    ------
    OSError
        If there is no answer in time; `urllib.error.HTTPError` if the status is an error.
    """
    return _direct.open(url, timeout=timeout_s)


def exempt_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Add the loopback addresses to ``no_proxy``, for clients of libraries and for child processes. Idempotent.

    Examples
    --------
    >>> environment = {"http_proxy": "http://proxy:3128", "NO_PROXY": ".plant"}
    >>> exempt_loopback(environment)
    >>> environment["no_proxy"]
    '.plant,localhost,127.0.0.1,::1'
    >>> environment = {"no_proxy": "10.0.0.5", "NO_PROXY": ".plant"}
    >>> exempt_loopback(environment)
    >>> environment["NO_PROXY"]
    '10.0.0.5,.plant,localhost,127.0.0.1,::1'
    """
    # Programs differ in the spelling that they read: each must find the hosts of both.
    given = f"{environment.get('no_proxy', '')},{environment.get('NO_PROXY', '')}"
    hosts = list(dict.fromkeys(host.strip() for host in given.split(",") if host.strip()))
    if "*" not in hosts:
        hosts += [host for host in _LOOPBACK if host not in hosts]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(hosts)
