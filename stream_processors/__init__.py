"""The two programs that run on Faust: the worker and the watch. Only this package imports Faust."""

from stream_processors.worker.overload import Overload, OverloadPolicy
from stream_processors.worker.settings import WorkerSettings

__all__ = ["Overload", "OverloadPolicy", "WorkerSettings"]
