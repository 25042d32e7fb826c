"""Workers that run as processes."""

from __future__ import annotations

from collections.abc import Callable

from infra.demo.processes import WorkerProcess

StartWorker = Callable[..., WorkerProcess]
