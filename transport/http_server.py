"""HTTP endpoint of a worker with /health and /metrics, on loopback by default."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import SettingsError

DEFAULT_PORT = 8088


async def serve(
    host: str,
    port: int | None,
    registry: CollectorRegistry,
    health: Callable[[], dict[str, Any]],
    default_port: int = DEFAULT_PORT,
) -> tuple[web.AppRunner, str]:
    """Start to listen; return the runner, for clean-up, and the base URL.

    ``health`` returns a JSON object whose ``ok`` decides between status 200 and 503.

    Raises
    ------
    SettingsError
        If the port is in use or the address is not this machine's.
    """

    async def get_health(_: web.Request) -> web.Response:
        report = health()
        return web.Response(
            text=json.dumps(report), content_type="application/json", status=200 if report["ok"] else 503
        )

    async def get_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/health", get_health), web.get("/metrics", get_metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for candidate in (port,) if port is not None else (default_port, 0):
        site = web.TCPSite(runner, host, candidate)
        try:
            await site.start()
        except OSError as error:
            if port is None and candidate and error.errno == errno.EADDRINUSE:
                continue
            await runner.cleanup()
            raise SettingsError(f"cannot listen on {host}:{candidate}: {error.strerror or error}") from error
        break
    bound_host, bound_port = runner.addresses[0][:2]
    return runner, f"http://{bound_host}:{bound_port}"
