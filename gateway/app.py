"""Application: routes, and the form of every error."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.batch import Batches
from gateway.door import Door
from gateway.foreign.model import MODEL, VERSION
from gateway.foreign.routes import foreign_routes
from gateway.inspections import Inspections
from gateway.line import GatewayLine
from gateway.metrics import GatewayMetrics
from gateway.openapi import openapi
from gateway.page import page
from gateway.problems import Problem, is_foreign
from gateway.records import RecordRequests
from transport.merged_metrics import merged_metrics

log = logging.getLogger(__name__)


def make_app(line: GatewayLine, metrics: GatewayMetrics) -> ASGIApp:
    """Return the ASGI application of a gateway."""
    inspections = Inspections(line)
    records = RecordRequests(line)
    pages = _Pages(line, metrics)
    app = Starlette(
        routes=[
            Route("/v1/inspections", inspections.post, methods=["POST"]),
            Route("/v1/inspections:batch", Batches(line, inspections).post, methods=["POST"]),
            Route("/v1/inspections/{frame_id}", inspections.get, methods=["GET"]),
            Route("/v1/labels", records.post_label, methods=["POST"]),
            Route("/v1/decisions", records.get_decisions, methods=["GET"]),
            Route("/openapi.json", pages.openapi, methods=["GET"]),
            Route("/health", pages.health, methods=["GET"]),
            Route("/ready", pages.ready, methods=["GET"]),
            Route("/metrics", pages.metrics, methods=["GET"]),
            Route("/", pages.page, methods=["GET"]),
            *foreign_routes(line, inspections, pages.version),
        ],
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _internal,
        },
    )
    app.router.redirect_slashes = False
    return Door(app, metrics, line.clients.are_open, lambda: line.is_draining)


class _Pages:
    """Pages about the gateway itself."""

    def __init__(self, line: GatewayLine, metrics: GatewayMetrics) -> None:
        self._line = line
        self._metrics = metrics
        try:
            self.version = version("streaming-inspection")
        except PackageNotFoundError:
            self.version = "0"

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(openapi(self.version, not self._line.clients.are_open))

    async def page(self, request: Request) -> Response:
        description = openapi(self.version, not self._line.clients.are_open)
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        text = page(description, str(request.base_url).rstrip("/"))
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    async def health(self, request: Request) -> Response:
        is_ok = self._line.is_alive
        return JSONResponse({"ok": is_ok}, 200 if is_ok else 503)

    async def ready(self, request: Request) -> Response:
        blocker = self._line.blocker
        if blocker is None:
            return JSONResponse({"ok": True})
        return JSONResponse({"ok": False, "reason": blocker.detail}, 503)

    async def metrics(self, request: Request) -> Response:
        self._line.clients.of(request.headers.get("authorization")).require("read")
        text = await run_in_threadpool(self._metrics.text)
        siblings = self._line.siblings
        if siblings is not None:
            pages = {str(siblings.number): text.decode(), **await siblings.metrics()}
            text = await run_in_threadpool(_text_of_all, pages)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Merged:
    """Collector of the metrics of all processes."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        return merged_metrics(dict(sorted(self._pages.items())))


def _text_of_all(pages: Mapping[str, str]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Merged(pages))
    return generate_latest(registry)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request.url.path)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        problem = Problem("method-not-allowed", _where(request), headers=dict(error.headers or {}))
    else:
        problem = Problem("not-found", _where(request))
    return problem.response(request.url.path)


def _where(request: Request) -> str:
    if is_foreign(request.url.path):
        return f"there is one model, {MODEL!r} in version {VERSION!r}; see docs/gateway.md for the paths"
    return "see /openapi.json for the paths"


async def _gone(request: Request, error: Exception) -> Response:
    """Answer a client that went away while it sent its body: nobody reads it."""
    return Problem("bad-request", "the body is incomplete").response(request.url.path)


async def _internal(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, and the server logs it.
    return Problem("internal", f"{type(error).__name__}; the log of the gateway has more").response(request.url.path)
